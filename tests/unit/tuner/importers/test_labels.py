"""What a model's outputs mean travels with it."""

from __future__ import annotations

from tuner.importers.labels import labels_of

CONFIG = {"id2label": {0: "NEGATIVE", 1: "POSITIVE"}, "problem_type": "single_label_classification"}


def test_labels_are_named_both_ways() -> None:
    assert labels_of("sequence-classification", CONFIG) == {
        "num_labels": 2,
        "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
        "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
        "problem_type": "single_label_classification",
    }


def test_a_reranker_has_one_label_and_may_say_no_problem() -> None:
    found = labels_of("sequence-classification", {"id2label": {0: "LABEL_0"}, "problem_type": None})
    assert (found["num_labels"], "problem_type" in found) == (1, False)


def test_other_heads_have_none() -> None:
    assert labels_of("encoder", CONFIG) == labels_of("question-answering", CONFIG) == {}
