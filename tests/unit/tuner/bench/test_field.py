"""Whose outputs are which, where a graph is somebody else's."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.bench import keras_bert
from tuner.bench.field import as_meant

RIGHT = {"last_hidden_state": np.zeros((2, 5, 4)), "pooler_output": np.zeros((2, 4))}


@pytest.mark.parametrize(
    ("found", "names"),
    [
        ({"pooler_output": np.ones((2, 4)), "more": np.ones(3)}, {"pooler_output", "more"}),
        ({"Identity_1": np.ones((2, 4)), "Identity": np.ones((2, 5, 4))}, {"last_hidden_state", "pooler_output"}),
        ({"Identity": np.ones((2, 9))}, set()),
    ],
    ids=["by name", "by shape", "neither"],
)
def test_outputs_go_by_name_else_by_shape(found: dict[str, np.ndarray], names: set[str]) -> None:
    assert as_meant(found, RIGHT).keys() == names


@pytest.mark.parametrize(
    ("config", "outputs", "says"),
    [
        ({"model_type": "bert", "hidden_act": "gelu"}, ("last_hidden_state", "pooler_output"), ""),
        ({"model_type": "bert", "hidden_act": "gelu"}, ("logits",), ""),
        ({"model_type": "roberta", "hidden_act": "gelu"}, ("logits",), "roberta"),
        ({"model_type": "bert", "hidden_act": "relu6"}, ("logits",), "relu6"),
        ({"model_type": "bert", "hidden_act": "gelu"}, ("sentence_embedding",), "sentence_embedding"),
    ],
)
def test_keras_is_built_for_what_it_is_known_to_compute(
    config: dict[str, str], outputs: tuple[str, ...], says: str
) -> None:
    reason = keras_bert.obstacle(config, outputs)
    assert (says in reason) if says else (reason == "")
