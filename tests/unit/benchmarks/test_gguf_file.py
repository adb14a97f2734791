"""What llama.cpp is told of an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gguf_file import put_into, refusal, write_gguf

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
    "layer_norm_eps": 1e-6,
    "vocab_size": 50,
    "type_vocab_size": 2,
}
EMBEDDED = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
OF_A_LAYER = {
    "attention.self.query.weight": "attn_q.weight",
    "attention.self.key.bias": "attn_k.bias",
    "attention.self.value.weight": "attn_v.weight",
    "attention.output.dense.weight": "attn_output.weight",
    "attention.output.LayerNorm.weight": "attn_output_norm.weight",
    "intermediate.dense.bias": "ffn_up.bias",
    "output.dense.weight": "ffn_down.weight",
    "output.LayerNorm.bias": "layer_output_norm.bias",
}
NAMES = EMBEDDED | {
    f"encoder.layer.{n}.{ours}": f"blk.{n}.{theirs}" for n in range(2) for ours, theirs in OF_A_LAYER.items()
}


class FakeWriter:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        self.tensors: dict[str, np.ndarray] = {}

    def __getattr__(self, name: str) -> Any:
        return lambda value: self.told.__setitem__(name, value)

    def add_tensor(self, name: str, values: np.ndarray) -> None:
        self.tensors[name] = values


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "roberta"}, "type roberta"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"hidden_act": "relu"}, "relu"),
    ],
)
def test_what_it_does_not_take_is_refused_by_name(change: dict[str, str], named: str) -> None:
    assert refusal(CONFIG) == ""
    assert named in refusal(CONFIG | change)


def test_every_parameter_has_its_place_and_the_pooler_none() -> None:
    pytest.importorskip("gguf", reason="it comes with the extra llama")
    params = {name: np.full((2, 2), n, np.float64) for n, name in enumerate(NAMES)}
    writer = FakeWriter()
    put_into(writer, CONFIG, params | {"pooler.dense.weight": np.zeros((2, 2))})
    assert {name: values[0, 0] for name, values in writer.tensors.items()} == {
        place: n for n, place in enumerate(NAMES.values())
    }
    assert {values.dtype for values in writer.tensors.values()} == {np.dtype(np.float32)}
    assert (writer.told["add_layer_norm_eps"], writer.told["add_head_count"]) == (1e-6, 2)
    assert (writer.told["add_context_length"], writer.told["add_vocab_size"]) == (32, 50)
    assert writer.told["add_causal_attention"] is False


def test_a_parameter_without_a_place_is_named() -> None:
    pytest.importorskip("gguf", reason="it comes with the extra llama")
    with pytest.raises(KeyError, match="strange"):
        put_into(FakeWriter(), CONFIG, {"encoder.strange.weight": np.zeros(2)})


def test_the_file_says_what_was_told(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="it comes with the extra llama")
    values = np.arange(400, dtype=np.float32).reshape(50, 8)
    write_gguf(CONFIG, {"embeddings.word_embeddings.weight": values}, tmp_path / "model.gguf")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    (tensor,) = reader.tensors
    np.testing.assert_array_equal(tensor.data, values)
    assert tensor.name == "token_embd.weight"
    assert reader.fields["general.architecture"].contents() == "bert"
    assert reader.fields["bert.block_count"].contents() == 2
