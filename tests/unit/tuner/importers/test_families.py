"""What tells one family of encoders from another."""

from __future__ import annotations

import pytest

from tests.support.tiny_models import CONFIGS
from tuner.errors import InvalidInput
from tuner.importers.families import FAMILIES, check_texts, head_of, is_of_head


@pytest.mark.parametrize(("kind", "first"), [("bert", 0), ("roberta", 2), ("xlm-roberta", 5), ("mpnet", 2)])
def test_positions_start_behind_the_padding_id_where_the_family_has_it_so(kind: str, first: int) -> None:
    assert FAMILIES[CONFIGS[kind]["model_type"]].first_position(CONFIGS[kind]) == first


def test_positions_of_a_family_whose_code_names_the_padding_do_not_follow_the_configuration() -> None:
    assert FAMILIES["mpnet"].first_position({"pad_token_id": 7}) == 2


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("BertModel", "encoder"),
        ("BertForMaskedLM", "encoder"),
        ("XLMRobertaForSequenceClassification", "sequence-classification"),
        ("ModernBertForTokenClassification", "token-classification"),
        ("DistilBertForQuestionAnswering", "question-answering"),
    ],
)
def test_head_is_what_the_architecture_says(architecture: str, head: str) -> None:
    assert head_of({"architectures": [architecture]}) == head


@pytest.mark.parametrize("architectures", [None, [], ["Something"], "BertForSequenceClassification", 5])
def test_model_without_a_known_architecture_is_an_encoder(architectures: object) -> None:
    assert head_of({"architectures": architectures}) == "encoder"


@pytest.mark.parametrize(
    ("weight", "is_head"),
    [
        ("classifier.weight", True),
        ("bert.pooler.dense.bias", True),
        ("cls.predictions.bias", True),
        ("embeddings.position_ids", True),
        ("bert.encoder.layer.0.attention.self.distance_embedding.weight", False),
        ("_orig_mod.embeddings.word_embeddings.weight", False),
        ("pooling.weight", False),
    ],
)
def test_weights_of_heads_are_told_from_the_encoder_s(weight: str, is_head: bool) -> None:
    assert is_of_head(weight, "bert") is is_head


@pytest.mark.parametrize(
    ("family", "head"), [("bert", "encoder"), ("roberta", "sequence-classification"), ("", ""), ("custom", "")]
)
def test_encoders_and_classifiers_are_compiled_for_texts(family: str, head: str) -> None:
    check_texts(family, head)


@pytest.mark.parametrize(
    ("family", "head", "named"),
    [("mpnet", "encoder", "mpnet"), ("modernbert", "encoder", "bert"), ("bert", "token-classification", "token-cl")],
)
def test_what_is_not_compiled_for_texts_is_refused_by_name(family: str, head: str, named: str) -> None:
    with pytest.raises(InvalidInput, match=named) as caught:
        check_texts(family, head)
    assert "Leave out the lengths" in caught.value.hint
