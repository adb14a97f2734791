"""ONNX files are read with care: what is not computed is named, and nothing outside of their folder is touched."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tuner.errors import ModelInvalid, OperatorsUnsupported, TunerError
from tuner.importers.model_file import ONNX, original_in
from tuner.importers.onnx.widths import in_float32
from tuner.importers.snapshot import borrowed
from tuner.importers.source import resolve_source


def bring(file: Path, root: Path) -> bytes:
    """The file as it is kept for a job."""
    with borrowed(resolve_source(str(file)), root) as fetched:
        assert fetched.folder is not None
        kept = original_in(fetched.folder, ONNX)
        assert kept is not None
        assert (kept.parent.name, kept.name) == ("original", file.name)
        return kept.read_bytes()


def graph_of(path: Path, *nodes: onnx.NodeProto, weights: onnx.TensorProto | None = None) -> Path:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph([*nodes], "graph", [value], [value], [weights] if weights else [])
    onnx.save_model(helper.make_model(graph, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("operator", "domain", "hint"),
    [
        ("Attention", "com.microsoft", "optimised"),
        ("EmbedLayerNormalization", "com.microsoft", "optimised"),
        ("FastGelu", "com.microsoft", "optimised"),
        ("SkipLayerNormalization", "com.microsoft", "optimised"),
        ("DequantizeLinear", "", "float32"),
        ("DynamicQuantizeLinear", "", "float32"),
        ("MatMulInteger", "", "float32"),
        ("QLinearMatMul", "", "float32"),
        ("Mine", "org.example", "optimised"),
    ],
)
def test_fused_and_quantised_operators_are_refused_by_name(
    tmp_path: Path, operator: str, domain: str, hint: str
) -> None:
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    file = graph_of(tmp_path / "model.onnx", node, node)
    with pytest.raises(OperatorsUnsupported, match=rf"{operator} \(2 times\)") as refused:
        bring(file, tmp_path / "root")
    assert hint in refused.value.hint


@pytest.mark.parametrize("place", ["../weights.bin", "/etc/passwd", "deep/weights.bin", "..", ""])
def test_weights_elsewhere_are_not_read(tmp_path: Path, place: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    (tmp_path / "model").mkdir()
    file = external(tmp_path / "model" / "model.onnx", place)
    with pytest.raises(ModelInvalid, match="no file beside it"):
        bring(file, tmp_path / "root")


def external(path: Path, place: str, **more: str) -> Path:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": place, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return graph_of(path, helper.make_node("Add", ["x", "w"], ["y"]), weights=tensor)


def test_weights_beside_the_file_are_kept_with_it_and_make_another_model(tmp_path: Path) -> None:
    file = external(tmp_path / "model.onnx", "model.safetensors")
    names = []
    for content in (bytes(16), bytes(15) + b"1"):
        (tmp_path / "model.safetensors").write_bytes(content)
        with borrowed(resolve_source(str(file)), tmp_path / "root") as fetched:
            assert fetched.folder is not None
            assert (fetched.folder / "original" / "model.safetensors").read_bytes() == content
            assert not (fetched.folder / "model.safetensors").exists(), (
                "whatever weights are called, they are no configuration"
            )
            names.append(fetched.folder.name)
    assert names[0] != names[1]


def test_a_file_that_is_written_after_the_submit_is_refused(tmp_path: Path) -> None:
    file = graph_of(tmp_path / "model.onnx", helper.make_node("Relu", ["x"], ["y"]))
    source = resolve_source(str(file))
    graph_of(file, helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["y"], ["z"]))
    with pytest.raises(ModelInvalid, match="changed after"), borrowed(source, tmp_path / "root"):
        pass


def test_half_floats_are_computed_in_float32(tmp_path: Path) -> None:
    half = numpy_helper.from_array(np.array([0.1, 2], np.float16), "w")
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16)
    model = onnx.load_model(graph_of(tmp_path / "model.onnx", cast, weights=half))
    in_float32(model)
    assert model.graph.initializer[0].data_type == TensorProto.FLOAT
    assert model.graph.node[0].attribute[0].i == TensorProto.FLOAT
    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), np.float32(np.float16([0.1, 2])))


def test_damage_anywhere_is_an_error_of_the_file_or_none_at_all(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((4, 4), np.float32), "embeddings.word_embeddings.weight")
    file = graph_of(tmp_path / "model.onnx", helper.make_node("MatMul", ["x", weights.name], ["y"]), weights=weights)
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    assert bring(file, tmp_path / "root") == whole
    for length in range(0, len(whole), 3):
        file.write_bytes(whole[:length])
        with suppress(TunerError):
            bring(file, tmp_path / "root")
    for _ in range(150):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] = rng.integers(256)
        file.write_bytes(changed)
        with suppress(TunerError):
            bring(file, tmp_path / "root")
