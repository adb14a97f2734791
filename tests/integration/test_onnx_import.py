"""ONNX files of encoders: the same kernels as the folder that they were exported from, or a refusal that says why."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.model_files import in_place
from tests.support.onnx_models import export_onnx, export_sentence_onnx, save_encoder
from tests.support.sentence_models import write_sentence_model
from tests.support.tiny_models import write_model
from tuner.errors import ModelInvalid, TunerError
from tuner.importers import cache
from tuner.importers.cache import Imported, Shape
from tuner.importers.snapshot import borrowed
from tuner.importers.source import resolve_source
from tuner.kernels.context import make_target
from tuner.kernels.workload import extract

Expected = Callable[..., dict[str, int]]
Exported = Callable[..., Path]

SHAPE = Shape(2, 20)
TARGET = {"kind": "llvm", "mcpu": "x86-64-v3", "num-cores": 2}


def imported(model: Path, root: Path, head: str | None = None) -> Imported:
    with borrowed(resolve_source(str(model), head=head), root) as fetched:
        return cache.import_source(fetched, SHAPE, root)


def workloads(one: Imported, root: Path) -> dict[str, int]:
    """Launches of each workload by its id."""
    return {found.id: found.weight for found in extract(cache.load_module(root, one), make_target(TARGET))}


def of_folder(folder: Path, root: Path, head: str | None = None) -> dict[str, int]:
    one = cache.import_source(in_place(str(folder), head=head), SHAPE, root)
    return workloads(one, root)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """The workloads of the folder of a tiny model of a kind and head, imported once."""

    @functools.cache
    def find(kind: str, head: str = "encoder") -> dict[str, int]:
        place = tmp_path_factory.mktemp("expected")
        return of_folder(write_model(place / "model", kind, head), place / "root", head)

    return find


def without_config(file: Path) -> Path:
    place = file.parent / "alone" / "exported.onnx"
    place.parent.mkdir()
    return file.rename(place)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The graph of a tiny model of a kind and head, with nothing beside it, exported once."""

    @functools.cache
    def find(kind: str, head: str = "encoder") -> Path:
        folder = write_model(tmp_path_factory.mktemp("exported") / "model", kind, head)
        return without_config(export_onnx(folder, folder / "model.onnx", head=head))

    return find


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "electra", "albert", "mpnet"])
def test_a_file_alone_gives_the_workloads_of_its_folder(
    tmp_path: Path, expected: Expected, exported: Exported, kind: str
) -> None:
    one = imported(exported(kind), tmp_path / "root")
    assert one.weights == "pretrained"
    assert one.family == kind
    assert workloads(one, tmp_path / "root") == expected(kind)


@pytest.mark.parametrize("kind", ["deberta-v2", "modernbert", "nomic_bert", "xlm-roberta", "camembert"])
def test_a_configuration_beside_the_file_tells_the_other_families(
    tmp_path: Path, expected: Expected, kind: str
) -> None:
    folder = write_model(tmp_path / "model", kind)
    (folder / "onnx").mkdir()
    file = export_onnx(folder, folder / "onnx" / "model.onnx")
    one = imported(file, tmp_path / "root")
    assert one.family == kind
    assert workloads(one, tmp_path / "root") == expected(kind)


@pytest.mark.parametrize("head", ["sequence-classification", "token-classification", "question-answering", "masked-lm"])
def test_a_head_is_told_by_the_graph(tmp_path: Path, expected: Expected, exported: Exported, head: str) -> None:
    one = imported(exported("bert", head), tmp_path / "root")
    assert one.head == head
    assert one.weights == "pretrained"
    assert workloads(one, tmp_path / "root") == expected("bert", head)


def test_pytorchs_newer_exporter_with_weights_in_a_file_of_their_own(tmp_path: Path, expected: Expected) -> None:
    folder = write_model(tmp_path / "model", "bert")
    file = export_onnx(folder, folder / "model.onnx", dynamo=True, external_data=True)
    assert (folder / "model.onnx.data").is_file()
    (folder / "model.safetensors").unlink()
    one = imported(folder, tmp_path / "root")
    assert file.name in one.location
    assert workloads(one, tmp_path / "root") == expected("bert")


def test_norms_as_one_operator_and_half_precision(tmp_path: Path, expected: Expected) -> None:
    folder = write_model(tmp_path / "model", "bert")
    file = without_config(export_onnx(folder, folder / "model.onnx", opset_version=17))
    model = onnx.load_model(file)
    assert "LayerNormalization" in {node.op_type for node in model.graph.node}
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    onnx.save_model(model, file)
    one = imported(file, tmp_path / "root")
    assert workloads(one, tmp_path / "root") == expected("bert")


def test_a_fixed_shape_and_outputs_of_other_names_change_nothing(tmp_path: Path, expected: Expected) -> None:
    folder = write_model(tmp_path / "model", "distilbert")
    file = without_config(
        export_onnx(folder, folder / "model.onnx", dynamic_axes={}, output_names=["hidden"], names=["one", "two"])
    )
    one = imported(file, tmp_path / "root")
    assert [output.name for output in one.outputs] == ["last_hidden_state"]
    assert workloads(one, tmp_path / "root") == expected("distilbert")


def test_a_network_within_a_module_of_somebodys_own(tmp_path: Path, expected: Expected) -> None:
    folder = write_model(tmp_path / "model", "roberta", "token-classification")
    file = without_config(export_onnx(folder, folder / "model.onnx", within=True))
    assert "model.roberta.embeddings.word_embeddings.weight" in {
        tensor.name for tensor in onnx.load_model(file).graph.initializer
    }
    one = imported(file, tmp_path / "root")
    assert (one.family, one.head) == ("roberta", "token-classification")
    assert workloads(one, tmp_path / "root") == expected("roberta", "token-classification")


SENTENCES: dict[str, dict[str, Any]] = {
    "mean": {"new": True},
    "cls, dense": {"modes": ("cls",), "dense": {"bias": False}},
    "max": {"modes": ("max",), "dense": {}, "normalize": False},
    "mean_sqrt": {"modes": ("mean_sqrt_len_tokens",), "kind": "mpnet"},
}


class Sentences:
    """A tiny sentence-transformers folder, its graph and its workloads, each made once."""

    def __init__(self, name: str, place: Path) -> None:
        self.place = place
        self.folder = write_sentence_model(place / "model", **SENTENCES[name])

    @functools.cached_property
    def graph(self) -> Path:
        return without_config(export_sentence_onnx(self.folder, self.folder / "model.onnx"))

    @functools.cached_property
    def workloads(self) -> dict[str, int]:
        return of_folder(self.folder, self.place / "root")


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sentences]:
    return functools.cache(lambda name: Sentences(name, tmp_path_factory.mktemp("sentences")))


@pytest.mark.parametrize("name", SENTENCES)
def test_pooling_in_the_graph_gives_the_workloads_of_a_sentence_transformers_folder(
    tmp_path: Path, sentences: Callable[[str], Sentences], name: str
) -> None:
    one = imported(sentences(name).graph, tmp_path / "root")
    assert (one.head, one.weights) == ("sentence-embedding", "pretrained")
    assert [output.name for output in one.outputs] == ["sentence_embedding"]
    assert workloads(one, tmp_path / "root") == sentences(name).workloads


def test_pooling_in_a_graph_of_pytorchs_newer_exporter_without_its_tokens(
    tmp_path: Path, sentences: Callable[[str], Sentences]
) -> None:
    model = sentences("mean")
    file = export_sentence_onnx(model.folder, tmp_path / "model.onnx", dynamo=True, tokens=False)
    one = imported(file, tmp_path / "root")
    assert one.head == "sentence-embedding"
    assert workloads(one, tmp_path / "root") == model.workloads


def test_the_encoder_alone_of_a_graph_with_pooling(tmp_path: Path, sentences: Callable[[str], Sentences]) -> None:
    model = sentences("mean")
    one = imported(model.graph, tmp_path / "root", "encoder")
    assert [output.name for output in one.outputs] == ["last_hidden_state"]
    whole = of_folder(model.folder, tmp_path / "root", "encoder")
    assert workloads(one, tmp_path / "root").keys() < whole.keys(), "no pooler"


def test_a_graph_of_tokens_beside_modules_is_pooled_as_they_say(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path / "model", modes=("weightedmean",), dense={}, prompts={"query": "find: "})
    (folder / "onnx").mkdir()
    export_onnx(folder, folder / "onnx" / "model.onnx", head="encoder")
    whole = of_folder(folder, tmp_path / "root")
    (folder / "model.safetensors").unlink()
    one = imported(folder, tmp_path / "root")
    assert one.head == "sentence-embedding"
    assert one.max_seq_len == 48
    assert one.about["prompts"] == {"query": "find: "}
    assert workloads(one, tmp_path / "root") == whole


def test_pooling_that_ignores_the_padding_is_refused(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path / "model", normalize=False)
    file = without_config(export_sentence_onnx(folder, folder / "model.onnx"))
    model = onnx.load_model(file)
    tokens, total = (one.name for one in model.graph.output)
    summed = next(node for node in model.graph.node if total in node.output)
    summed.CopyFrom(helper.make_node("ReduceMean", [tokens], [total], axes=[1], keepdims=0))
    onnx.save_model(model, file)
    with pytest.raises(ModelInvalid, match="output sentence_embedding"):
        imported(file, tmp_path / "root")


def test_a_network_that_is_another_one_than_its_graph_is_refused(tmp_path: Path, exported: Exported) -> None:
    model, file = onnx.load_model(exported("bert")), tmp_path / "model.onnx"
    next(node for node in model.graph.node if node.op_type == "Softmax").op_type = "LogSoftmax"
    onnx.save_model(model, file)
    with pytest.raises(ModelInvalid, match="is not what that computes"):
        imported(file, tmp_path / "root")


def test_an_output_that_nobody_computes_is_refused(tmp_path: Path, exported: Exported) -> None:
    model, file = onnx.load_model(exported("bert")), tmp_path / "model.onnx"
    model.graph.node.append(helper.make_node("ReduceMean", ["last_hidden_state"], ["embedding"], axes=[1], keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, None))
    onnx.save_model(model, file)
    with pytest.raises(ModelInvalid, match="output embedding"):
        imported(file, tmp_path / "root")


@pytest.mark.parametrize("is_open", [True, False])
def test_a_program_of_an_encoder_gives_the_workloads_of_its_folder(
    tmp_path: Path, expected: Expected, is_open: bool
) -> None:
    folder = write_model(tmp_path / "model", "bert", "sequence-classification")
    file = save_encoder(folder, tmp_path / "program" / "model.pt2", is_open)
    (file.parent / "config.json").write_bytes((folder / "config.json").read_bytes())
    one = imported(file, tmp_path / "root")
    assert (one.family, one.head, one.weights) == ("bert", "sequence-classification", "pretrained")
    assert workloads(one, tmp_path / "root") == expected("bert", "sequence-classification")


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", "bert")
    file = export_onnx(folder, folder / "model.onnx", dynamo=True, external_data=True)
    file.with_name("model.onnx.data").unlink()
    with pytest.raises(ModelInvalid, match=r"model\.onnx\.data, which is not there"):
        imported(file, tmp_path / "root")


def test_a_file_that_is_cut_short_or_changed_is_an_error_wherever_that_is(tmp_path: Path, exported: Exported) -> None:
    whole, file = exported("distilbert").read_bytes(), tmp_path / "model.onnx"
    rng = np.random.default_rng(0)
    for _ in range(8):
        file.write_bytes(whole[: rng.integers(len(whole))])
        with pytest.raises(TunerError), borrowed(resolve_source(str(file)), tmp_path / "root"):
            pass
    for _ in range(8):
        changed = bytearray(whole)
        for place in rng.integers(0, len(whole), 20):
            changed[place] = rng.integers(256)
        file.write_bytes(changed)
        with suppress(TunerError), borrowed(resolve_source(str(file)), tmp_path / "root"):
            pass
