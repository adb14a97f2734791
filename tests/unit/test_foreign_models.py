"""Whatever is given or uploaded as a model's file, or as the texts for one, is taken or refused in words.

A few examples each, always the same; `make fuzz` tries as many as one likes, others each time.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.support import foreign
from tests.support.uploading import MODEL, tarred, zipped
from tuner.cli.text_file import texts_in, token_counts
from tuner.client import tokenizer
from tuner.errors import InvalidInput, TunerError
from tuner.importers.convert import convert
from tuner.importers.model_file import check_format, config_beside
from tuner.importers.onnx.graph import external_files
from tuner.importers.programs.archive import check_program
from tuner.importers.source import resolve_source
from tuner.uploads.unpack import Unpack

_MOST = 10_000_000
_PACKERS = {"m.zip": zipped, "m.tar": lambda files: tarred(files, mode="w"), "m.tar.gz": tarred}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("foreign")


def _encoder() -> onnx.ModelProto:
    """What is looked at of an exported encoder of one layer."""
    layer = "encoder.layer.0."
    weights = {
        "embeddings.word_embeddings.weight": (16, 8),
        "embeddings.position_embeddings.weight": (12, 8),
        f"{layer}attention.self.query.bias": (8,),
        f"{layer}intermediate.dense.bias": (12,),
        "onnx::MatMul_1": (8, 8),
        "onnx::MatMul_2": (8, 12),
    }
    constants = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()]
    constants.append(numpy_helper.from_array(np.array([0, 0, 2, 4]), "split"))
    constants.append(numpy_helper.from_array(np.array(1e-12, np.float32), "eps"))
    cut = TensorProto(name="elsewhere.weight", data_type=TensorProto.FLOAT, dims=[4])
    cut.data_location = TensorProto.EXTERNAL
    cut.external_data.add(key="location", value="model.onnx_data")
    nodes = [
        helper.make_node("Gather", ["embeddings.word_embeddings.weight", "input_ids"], ["x"]),
        helper.make_node("MatMul", ["x", "onnx::MatMul_1"], ["q"]),
        helper.make_node("Add", [f"{layer}attention.self.query.bias", "q"], ["biased"]),
        helper.make_node("Reshape", ["biased", "split"], ["heads"]),
        helper.make_node("Constant", [], ["half"], value=numpy_helper.from_array(np.array(0.5, np.float32))),
        helper.make_node("Identity", ["half"], ["same"]),
        helper.make_node("MatMul", ["x", "onnx::MatMul_2"], ["wide"]),
        helper.make_node("Add", ["wide", f"{layer}intermediate.dense.bias"], ["erf_of"]),
        helper.make_node("Erf", ["erf_of"], ["erf"]),
        helper.make_node("Add", ["erf", "eps"], ["rooted"]),
        helper.make_node("Sqrt", ["rooted"], ["out"]),
    ]
    nodes[1].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'encoder', 'encoder.layer.0']")
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", "sequence", 12])
    return helper.make_model(helper.make_graph(nodes, "encoder", [ids], [out], [*constants, cut]))


ONNX = _encoder()
ONNX_FIELDS = json_format.MessageToDict(ONNX)
CONFIG = {"model_type": "bert", "hidden_size": 8, "architectures": ["BertModel"], "id2label": {"0": "a"}}


@st.composite
def graphs(draw: st.DrawFn) -> bytes:
    """Files like an exported encoder's: other values in its fields, or other bytes."""
    if draw(st.booleans()):
        try:
            fields = draw(foreign.damaged(ONNX_FIELDS))
            return bytes(json_format.ParseDict(fields, onnx.ModelProto()).SerializeToString())
        except (json_format.ParseError, TypeError, ValueError, AttributeError, OverflowError, UnicodeError):
            pass  # no graph can be like that
    return draw(foreign.spoilt(ONNX.SerializeToString()))


@given(graphs(), foreign.texts(CONFIG))
def test_an_onnx_file(root: Path, content: bytes, config: str) -> None:
    folder, made = root / "onnx", root / "made"
    for one in (folder, made):
        one.mkdir(exist_ok=True)
    file = folder / "model.onnx"
    file.write_bytes(content)
    (folder / "model.onnx_data").write_bytes(bytes(16))
    (folder / "config.json").write_bytes(config.encode("utf-8", "surrogatepass"))
    foreign.attempt(TunerError, resolve_source, str(folder))
    foreign.attempt(TunerError, external_files, file)
    beside = foreign.attempt(TunerError, config_beside, file)
    for known in (beside, None):
        if foreign.attempt(TunerError, convert, file, known, made):
            assert json.loads((made / "config.json").read_text())


def test_the_onnx_file_that_is_damaged_is_an_encoder_when_it_is_not(root: Path) -> None:
    file = root / "whole" / "model.onnx"
    file.parent.mkdir()
    file.write_bytes(ONNX.SerializeToString())
    (file.parent / "model.onnx_data").write_bytes(bytes(16))
    assert convert(file, None, file.parent) == "encoder"
    assert json.loads((file.parent / "config.json").read_text())["hidden_size"] == 8


TENSOR = {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": {}}
PROGRAM = {
    "models/model.json": {
        "graph": {
            "nodes": [{"target": "torch.ops.aten.linear.default", "inputs": [], "outputs": []}],
            "sizes": [{"as_expr": {"expr_str": "2*s0 + 1"}}],
        }
    },
    "data/weights/model_weights_config.json": {"config": {"w": TENSOR}},
    "data/constants/model_constants_config.json": {"config": {}},
}


def _program(members: Any) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, value in members.items():
            archive.writestr(f"model/{name}", json.dumps(value))
    return packed.getvalue()


@st.composite
def programs(draw: st.DrawFn) -> bytes:
    """Files like a program's: other JSON in its members, or other bytes."""
    if draw(st.booleans()):
        return _program({name: draw(foreign.damaged(value) | foreign.JSON) for name, value in PROGRAM.items()})
    return draw(foreign.spoilt(_program(PROGRAM)))


@given(programs() | st.binary(max_size=50), st.sampled_from(["m.pt2", "m.onnx", "m.pt", "m"]))
def test_a_program(root: Path, content: bytes, name: str) -> None:
    file = root / name
    file.write_bytes(content)
    foreign.attempt(TunerError, check_format, file)
    foreign.attempt(TunerError, check_program, file)


TEXTS = (b'id\ttext\n1\t"a b\n', b'id,text\n1,"a, b"\n', b'{"text": "a"}\n{"sentence": "b"}\n')


@given(
    st.sampled_from(["a.txt", "a.tsv", "a.csv", "a.jsonl"]),
    foreign.spoilt(b'id\ttext\n1\t"a b\n')
    | foreign.spoilt(b'{"text": "a"}\n{"sentence": "b"}\n')
    | st.binary(max_size=50),
    st.sampled_from([None, "text", ""]),
)
def test_a_file_of_texts(root: Path, name: str, content: bytes, column: str | None) -> None:
    file = root / name
    file.write_bytes(content)
    if texts := foreign.attempt(InvalidInput, texts_in, file, column):
        assert all(text.strip() for text in texts)
    if counts := foreign.attempt(InvalidInput, token_counts, file):
        assert min(counts) > 0


MANIFEST = {"tokenizer": ["tokenizer.json", "vocab.txt"], "model": {"location": "/nowhere", "head": "encoder"}}


@given(foreign.damaged(MANIFEST))
def test_the_tokenizer_in_an_artifact(root: Path, manifest: Any) -> None:
    files = {"tokenizer.json": b"{}", "vocab.txt": b"a", "manifest.json": b""}
    (root / "artifact.tar").write_bytes(tarred(files, mode="w"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "_loaded", lambda folder: sorted(file.name for file in folder.iterdir()))
        given_ = manifest if isinstance(manifest, dict) else {}
        found = foreign.attempt(TunerError, tokenizer.tokenizer_for, root / "artifact.tar", given_)
    assert found is None or set(found) <= set(files)


@given(st.sampled_from(sorted(_PACKERS)), st.data())
def test_an_archive_of_a_model(root: Path, name: str, data: st.DataObject) -> None:
    into = root / "unpacked"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    (root / name).write_bytes(data.draw(foreign.spoilt(_PACKERS[name](MODEL)) | st.binary(max_size=200)))
    before = set(root.iterdir())
    told = foreign.attempt(TunerError, Unpack(root / name, into, _MOST, 0, allow_pickle=False).make)
    assert set(root.iterdir()) == before
    if told:
        assert {one["path"] for one in told["files"]} == {
            str(p.relative_to(into)) for p in into.rglob("*") if p.is_file()
        }
