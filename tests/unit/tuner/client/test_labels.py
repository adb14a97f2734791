"""What a classifier's numbers mean."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.client.labels import answer, check_head, probabilities
from tuner.errors import InvalidInput

MANIFEST = {"model": {"head": "sequence-classification", "id2label": {"0": "bad", "1": "good", "2": "so so"}}}


def test_the_likeliest_label_comes_first_under_its_name() -> None:
    found = answer("a text", np.array([0.0, np.log(3.0), 0.0], np.float32), MANIFEST)
    assert list(found.probabilities) == ["good", "bad", "so so"]
    assert (found.label, found.score) == ("good", pytest.approx(0.6))
    assert found.as_dict()["text"] == "a text"


def test_labels_without_names_have_numbers() -> None:
    assert answer("", np.array([0.0, 1.0]), {"model": {}}).label == "LABEL_1"


@pytest.mark.parametrize(
    ("logits", "problem", "wanted"),
    [
        ([1000.0, 1000.0], None, [0.5, 0.5]),
        ([0.0, np.log(9.0)], "multi_label_classification", [0.5, 0.9]),
        ([np.log(9.0)], None, [0.9]),
        ([2.5], "regression", [2.5]),
    ],
)
def test_probabilities_are_the_librarys(logits: list[float], problem: str | None, wanted: list[float]) -> None:
    np.testing.assert_allclose(probabilities(np.array(logits), problem), wanted)


def test_what_has_no_labels_is_refused_by_its_head() -> None:
    with pytest.raises(InvalidInput, match="its head is encoder"):
        check_head({"model": {"head": "encoder"}})
