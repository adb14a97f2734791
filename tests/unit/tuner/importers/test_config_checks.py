"""What a configuration asks for and nobody computes is refused by the name of its field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_models import CONFIGS
from tuner.errors import ModelInvalid
from tuner.importers.config_checks import check_config
from tuner.importers.families import FAMILIES

FILE = Path("model/config.json")


@pytest.mark.parametrize("kind", CONFIGS)
def test_configurations_of_all_families_pass(kind: str) -> None:
    check_config(FILE, CONFIGS[kind])


def test_each_family_has_a_tiny_model() -> None:
    assert {config["model_type"] for config in CONFIGS.values()} == set(FAMILIES)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("bert", "model_type", "llama"),
        ("bert", "is_decoder", True),
        ("bert", "add_cross_attention", True),
        ("bert", "is_encoder_decoder", True),
        ("bert", "position_embedding_type", "relative_key_query"),
        ("electra", "position_embedding_type", "relative_key"),
        ("bert", "auto_map", {"AutoModel": "modeling.Own"}),
        ("bert", "num_hidden_layers", 0),
        ("bert", "hidden_size", "768"),
        ("bert", "vocab_size", True),
        ("bert", "max_position_embeddings", -1),
        ("distilbert", "n_layers", 2.5),
        ("bert", "layer_norm_eps", 0),
        ("bert", "layer_norm_eps", float("nan")),
        ("modernbert", "norm_eps", "1e-5"),
        ("deberta-v2", "conv_kernel_size", 3),
        ("roberta", "pad_token_id", None),
        ("xlm-roberta", "pad_token_id", -1),
    ],
)
def test_field_that_can_not_be_computed_is_named(kind: str, field: str, value: Any) -> None:
    with pytest.raises(ModelInvalid, match=field) as caught:
        check_config(FILE, CONFIGS[kind] | {field: value})
    assert str(FILE) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("value", [False, None])
def test_field_that_is_off_asks_for_nothing(value: object) -> None:
    check_config(FILE, CONFIGS["bert"] | {"is_decoder": value, "position_embedding_type": "absolute"})


def test_padding_id_may_be_left_open_where_nothing_depends_on_it() -> None:
    check_config(FILE, CONFIGS["bert"] | {"pad_token_id": None})
