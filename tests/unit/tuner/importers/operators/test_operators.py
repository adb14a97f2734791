"""Operators by name, as files, and what is measured beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tuner.bench.baselines import arithmetic, baselines
from tuner.bench.spec import Timing
from tuner.db.models import Model
from tuner.errors import InvalidInput, ModelInvalid, ModelUnknown
from tuner.importers.operators import allowed, catalog, files
from tuner.importers.source import resolve_source
from tuner.schemas import OperatorIn
from tuner.targets.roofline import Peak

SCALED = (Path(__file__).parents[4] / "support" / "data" / "scaled.tir.json").read_text()
ADD = OperatorIn(name="add", tir=allowed.checked("add", SCALED), constants=[1])


@pytest.mark.parametrize(
    "text",
    [
        "op:gemm:128,3072,768",
        "op:gemm: 128, 3072, 768",
        '{"op": "gemm", "args": [128, 3072, 768]}',
        '{"op":"gemm","args":["128","3072","768"]}',
    ],
)
def test_an_operator_has_one_spelling(text: str) -> None:
    found = catalog.parse(text)
    assert (found.text, found.flops) == ("op:gemm:128,3072,768", 2.0 * 128 * 3072 * 768)
    assert found.shapes == ((128, 768), (3072, 768), (128, 3072))
    source = resolve_source(text)
    assert (source.source, source.name, source.has_files, source.folder) == ("operator", found.text, False, None)


def test_a_convolution_knows_its_shapes_and_its_arithmetic() -> None:
    found = catalog.parse("op:conv2d:1,3,224,224,64,7,2,3")  # the first of ResNet-50
    assert found.shapes == ((1, 3, 224, 224), (64, 3, 7, 7), (1, 64, 112, 112))
    assert found.flops == 2 * 64 * 112 * 112 * 3 * 7 * 7
    assert catalog.parse("op:conv2d:1,3,8,8,4,1,1,0").shapes[-1] == (1, 4, 8, 8)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("op:gem:1,2,3", ModelUnknown, "gem"),
        ("op:gemm:1,2", InvalidInput, "arguments 1, 2\\."),
        ("op:gemm:1,2,0", InvalidInput, "arguments 1, 2, 0\\."),
        ("op:gemm:1,2,x", InvalidInput, "whole numbers"),
        ("op:gemm", InvalidInput, "none"),
        ("op:gemm:1000000,1000000,1000000", InvalidInput, "GiB"),
        ("op:conv2d:1,3,8,8,4,3,0,1", InvalidInput, "arguments 1, 3, 8, 8, 4, 3, 0, 1"),
        ("op:conv2d:1,3,2,2,4,5,1,1", InvalidInput, "empty"),
        ('{"op": "gemm"}', InvalidInput, "JSON"),
        ("{gemm}", InvalidInput, "JSON"),
    ],
)
def test_what_is_no_operator_is_refused_with_the_reason(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as refused:
        resolve_source(text)
    assert getattr(refused.value, "hint", "")


def test_one_operator_may_be_sent_twice_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, others = os.replace, []

    def after_another(source: Path, target: Path) -> None:
        if not others:
            others.append(target)
            files.write(tmp_path, ADD)
        replace(source, target)

    monkeypatch.setattr(os, "replace", after_another)
    path = files.write(tmp_path, ADD)
    assert others == [path]
    assert files.read(path) == ADD
    assert list(tmp_path.iterdir()) == [path]


def test_an_operator_of_ones_own_is_stored_by_its_content(tmp_path: Path) -> None:
    path = files.write(tmp_path / "operators", ADD)
    assert files.write(tmp_path / "operators", ADD) == path
    assert files.write(tmp_path / "operators", ADD.model_copy(update={"constants": []})) != path
    assert files.read(path) == ADD
    source = resolve_source(str(path))
    assert (source.source, source.location, source.has_files) == ("operator", str(path), True)


@pytest.mark.parametrize("call", ["tirx.call_extern", "tirx.tvm_call_packed", "tirx.call_pure_extern"])
@pytest.mark.parametrize("escaped", [False, True])
def test_a_kernel_that_calls_functions_by_name_is_refused(tmp_path: Path, call: str, escaped: bool) -> None:
    tir = SCALED.replace("tirx.exp", call)
    if escaped:
        tir = tir.replace("extern", "\\u0065xtern").replace("packed", "p\\u0061cked")
    with pytest.raises(ModelInvalid, match=call):
        files.write(tmp_path, OperatorIn(name="evil", tir=tir))


def _graph() -> dict[str, Any]:
    graph: dict[str, Any] = json.loads(SCALED)
    return graph


def _annotate(graph: dict[str, Any], key: str, value: str, kind: str) -> None:
    """Put an annotation on the first node of a kind, as TVM writes it."""
    nodes = graph["nodes"]
    place = next(node for node in nodes if node["type"] == kind)["data"]["annotations"]
    strings = [{"type": "ffi.String", "data": text} for text in (key, value)]
    graph["nodes"] = [*nodes[:place], *strings, *_shifted_by(nodes[place:], place, 2)]
    graph["nodes"][place + 2]["data"] = [place, place + 1]
    graph["root_index"] += 2


@pytest.mark.parametrize("key", ["pragma_import_llvm", "pragma_import_c", "meta_schedule.unroll_explicit"])
@pytest.mark.parametrize("kind", ["tirx.For", "s_tir.SBlock"])
def test_an_annotation_that_te_does_not_write_is_refused(key: str, kind: str) -> None:
    graph = _graph()
    _annotate(graph, key, "text", kind)
    with pytest.raises(ModelInvalid, match=key):
        allowed.checked("evil", json.dumps(graph))


@pytest.mark.parametrize("call", ["tirx.call_llvm_intrin", "tirx.call_ffi_kernel", "tirx.call_pure_extern"])
def test_a_call_that_is_no_arithmetic_is_refused(call: str) -> None:
    with pytest.raises(ModelInvalid, match=call):
        allowed.checked("evil", SCALED.replace("tirx.exp", call))


@pytest.mark.parametrize("kind", ["tirx.While", "tirx.AttrStmt", "tirx.Evaluate", "tirx.AllocBuffer", "ir.GlobalVar"])
def test_a_node_that_is_not_listed_is_refused(kind: str) -> None:
    with pytest.raises(ModelInvalid, match=kind):
        allowed.checked("evil", SCALED.replace("tirx.BufferStore", kind))


def test_a_graph_that_refers_to_itself_is_refused() -> None:
    graph = _graph()
    last = next(n for n, node in enumerate(graph["nodes"]) if node["type"] == "prim.Mul")
    graph["nodes"][last]["data"]["a"] = last
    with pytest.raises(ModelInvalid, match="not there"):
        allowed.checked("evil", json.dumps(graph))


def test_a_graph_that_is_endless_once_it_is_written_out_is_refused() -> None:
    graph = _graph()
    store = next(n for n, node in enumerate(graph["nodes"]) if node["type"] == "tirx.BufferStore")
    value = graph["nodes"][store]["data"]["value"]
    template = graph["nodes"][value]
    rest = graph["nodes"][store:]
    graph["nodes"] = graph["nodes"][:store]
    for _ in range(64):
        last = len(graph["nodes"]) - 1 if len(graph["nodes"]) > store else value
        graph["nodes"].append({"type": "prim.Add", "data": template["data"] | {"a": last, "b": last}})
    graph["nodes"] += _shifted_by(rest, store, 64)
    graph["nodes"][store + 64]["data"]["value"] = store + 63
    graph["root_index"] += 64
    with pytest.raises(ModelInvalid, match="too large"):
        allowed.checked("evil", json.dumps(graph))


def _shifted_by(nodes: list[dict[str, Any]], place: int, by: int) -> list[dict[str, Any]]:
    inline = {"kind", "iter_type", "ndim", "data_alignment", "offset_factor"}
    for node in nodes:
        data = node.get("data")
        if isinstance(data, dict):
            node["data"] = {
                k: v + by if type(v) is int and k not in inline and v >= place else v for k, v in data.items()
            }
        elif isinstance(data, list):
            node["data"] = [v + by if v >= place else v for v in data]
    return nodes


def test_a_damaged_operator_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / f"half{files.SUFFIX}"
    path.write_text('{"name": "half"')
    with pytest.raises(ModelInvalid, match="half"):
        files.read(path)


def test_an_operator_is_timed_beside_pytorch_as_far_as_that_knows_it() -> None:
    def kinds(name: str, source: str = "operator", family: str = "") -> list[str]:
        return [variant.kind for variant in baselines(Model(name=name, source=source, location=name, family=family))]

    assert kinds("op:gemm:8,8,8") == ["torch-eager"]
    assert kinds("op:swish_gemm:8,8,8") == ["torch-eager", "torch-product"]
    assert kinds("/data/add.operator.json") == []
    assert kinds("bert-base-uncased", "preset", "bert") == ["torch-eager", "torch-sdpa"]


def test_gflops_are_flops_by_the_median_beside_the_targets_peak() -> None:
    def timing(name: str, median_ms: float) -> Timing:
        return Timing(variant=name, median_ms=median_ms, p10_ms=1.0, p90_ms=9.0, n=5)

    def of(name: str, source: str = "operator") -> Model:
        return Model(name=name, source=source, location=name)

    timings = {name: timing(name, ms) for name, ms in (("tuned", 2.0), ("untuned", 8.0))}
    peak = Peak(2617.3, 68.3, "computed")
    gemm = of("op:gemm:1000,1000,1000")  # two GFLOP
    told = {"peak_gflops": 2617.3, "peak_source": "computed"}
    assert arithmetic(gemm, timings, peak, 1e12) == {"gflops": {"tuned": 1000.0, "untuned": 250.0}, **told}
    assert arithmetic(gemm, timings, None, 1e12) == {"gflops": {"tuned": 1000.0, "untuned": 250.0}}
    own = {"gflops": {"tuned": 2000.0, "untuned": 500.0}, **told}
    assert arithmetic(of("/data/add.operator.json"), timings, peak, 4e9) == own
    assert arithmetic(of("/data/copy.operator.json"), timings, peak, 0.0) == told
    assert arithmetic(of("bert-base-uncased", "preset"), timings, peak, 1e12) == {}


@pytest.mark.parametrize("kind", ["ir.Op", "ir.PrimType", "ffi.String", "int", "bool", "tirx.For", "s_tir.SBlock"])
@pytest.mark.parametrize("data", [[], {}, [[]], 0.5, "x y", "\ud800", None])
def test_a_node_that_holds_something_else_is_refused_in_words(kind: str, data: object) -> None:
    graph = _graph()
    place = next(n for n, node in enumerate(graph["nodes"]) if node["type"] == kind)
    graph["nodes"][place]["data"] = data
    with pytest.raises(ModelInvalid) as refused:
        allowed.checked("evil", json.dumps(graph))
    assert refused.value.message.encode()
