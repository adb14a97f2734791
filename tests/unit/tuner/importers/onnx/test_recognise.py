"""Whose parameters are whose: names that exporters keep, drop or hide, and what they tell of the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tuner.importers.onnx.graph import Graph, read
from tuner.importers.onnx.recognise import head_of_weights, library_names
from tuner.importers.onnx.weights import named_weights

WIDE = np.arange(6, dtype=np.float32).reshape(2, 3)


def graph(folder: Path, *nodes: onnx.NodeProto, **weights: np.ndarray) -> Graph:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    made = helper.make_model(helper.make_graph([*nodes], "graph", [x], [y], tensors), ir_version=8)
    onnx.save_model(made, folder / "model.onnx")
    return read(folder / "model.onnx")


def test_weights_of_a_product_are_named_by_the_bias_that_is_added(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["m"], name="node_12"),
        helper.make_node("Add", ["layer.0.query.bias", "m"], ["y"]),
    ]
    weights = {"onnx::MatMul_7": WIDE, "layer.0.query.bias": np.ones(3, np.float32)}
    found = named_weights(graph(tmp_path, *nodes, **weights))
    np.testing.assert_array_equal(found["layer.0.query.weight"], WIDE.T)
    assert set(found) == {"layer.0.query.weight", "layer.0.query.bias"}


@pytest.mark.parametrize("name", ["/layers.0/attn/Wo/MatMul", "/layers.0/attn/Wo_1/MatMul", ""])
def test_weights_without_a_bias_are_named_by_their_scope(tmp_path: Path, name: str) -> None:
    node = helper.make_node("MatMul", ["x", "val_3"], ["y"], name=name or "node_3")
    if not name:
        scopes = "['', 'layers.0', 'layers.0.attn', 'layers.0.attn.Wo', 'matmul']"
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    np.testing.assert_array_equal(named_weights(graph(tmp_path, node, val_3=WIDE))["layers.0.attn.Wo.weight"], WIDE.T)


@pytest.mark.parametrize("scopes", ["__import__('os').abort()", "[" * 500, "{}", "['']", "\\"])
def test_a_scope_that_is_no_list_is_nobodys(tmp_path: Path, scopes: str) -> None:
    node = helper.make_node("MatMul", ["x", "val_3"], ["y"])
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    assert named_weights(graph(tmp_path, node, val_3=WIDE)) == {}


def test_matrices_lie_as_pytorch_has_them_however_they_are_used(tmp_path: Path) -> None:
    square = np.arange(4, dtype=np.float32).reshape(2, 2)
    nodes = [
        helper.make_node("MatMul", ["x", "a.weight"], ["1"]),
        helper.make_node("Gemm", ["1", "b.weight"], ["2"], transB=1),
        helper.make_node("Gemm", ["2", "c.weight"], ["3"]),
        helper.make_node("Gather", ["d.weight", "i"], ["4"]),
        helper.make_node("Identity", ["d.weight"], ["e.weight"]),
        helper.make_node("Add", ["3", "4"], ["y"]),
    ]
    weights = {f"{name}.weight": square for name in "abcd"} | {"i": np.array(0)}
    found = named_weights(graph(tmp_path, *nodes, **weights))
    for name, want in {"a": square.T, "b": square, "c": square.T, "d": square, "e": square}.items():
        np.testing.assert_array_equal(found[f"{name}.weight"], want, err_msg=name)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("embeddings.", "embeddings."),
        ("bert.embeddings.", "bert.embeddings."),
        ("auto_model.embeddings.", "embeddings."),
        ("model.embeddings.", "embeddings."),
        ("model.bert.embeddings.", "bert.embeddings."),
        ("0.encoder_model.roberta.embeddings.", "roberta.embeddings."),
    ],
)
def test_a_network_within_another_module_gets_its_names_back(given: str, wanted: str) -> None:
    name = f"{given}word_embeddings.weight"
    assert library_names([name])[name] == f"{wanted}word_embeddings.weight"


def test_modernbert_keeps_the_prefix_that_is_its_own() -> None:
    name = "net.model.embeddings.tok_embeddings.weight"
    assert library_names([name])[name] == "model.embeddings.tok_embeddings.weight"


def test_what_looks_up_no_words_is_no_encoder() -> None:
    assert library_names(["conv1.weight", "fc.weight"]) == {}


@pytest.mark.parametrize(
    ("name", "rank", "head"),
    [
        ("qa_outputs.weight", 2, "question-answering"),
        ("classifier.weight", 2, "sequence-classification"),
        ("classifier.weight", 3, "token-classification"),
        ("classifier.out_proj.weight", 2, "sequence-classification"),
        ("cls.predictions.transform.dense.weight", 3, "masked-lm"),
        ("lm_head.dense.weight", 3, "masked-lm"),
        ("encoder.layer.0.output.dense.weight", 3, "encoder"),
        ("bert.pooler.dense.weight", 2, "encoder"),
    ],
)
def test_heads_are_told_by_their_parameters(name: str, rank: int, head: str) -> None:
    assert head_of_weights(["bert.embeddings.word_embeddings.weight", name], rank) == head
