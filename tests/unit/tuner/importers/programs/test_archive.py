"""A program's file, looked at before PyTorch loads it: whatever could run code is refused by its name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import FormatUnsupported, ModelInvalid, OperatorsUnsupported, TunerError
from tuner.importers.programs.archive import check_program

TENSOR = {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": {}}
LINEAR = {"target": "torch.ops.aten.linear.default", "inputs": [], "outputs": []}


def archive(
    path: Path,
    weights: Any = None,
    constants: Any = None,
    nodes: list[Any] | None = None,
    extent: str = "s0",
    compression: int = zipfile.ZIP_STORED,
    **others: bytes,
) -> Path:
    graph = {"graph": {"nodes": [LINEAR] if nodes is None else nodes, "sizes": [{"as_expr": {"expr_str": extent}}]}}
    members = {
        "models/model.json": json.dumps(graph),
        "data/weights/model_weights_config.json": json.dumps(weights or {"config": {"w": TENSOR}}),
        "data/constants/model_constants_config.json": json.dumps(constants or {"config": {}}),
        "data/sample_inputs/model.pt": b"",
        **{name.replace("__", "/"): content for name, content in others.items()},
    }
    with zipfile.ZipFile(path, "w", compression) as made:
        for name, content in members.items():
            made.writestr(f"model/{name}", content)
    return path


@pytest.mark.parametrize(
    "extent",
    [
        "s0",
        "2*s0 + 1",
        "Max(1, (s0 + 3)//4)",
        "FloorDiv(s0, 2)",
        "128",
        "Mul(Integer(3), Symbol('s81', positive=True))",
        "Mul(Integer(32), Pow(Symbol('s41', positive=True, integer=True), Integer(2)))",
    ],
)
def test_tensors_a_graph_and_arithmetic_of_extents_are_taken(tmp_path: Path, extent: str) -> None:
    check_program(archive(tmp_path / "model.pt2", extent=extent))


@pytest.mark.parametrize(
    "extent",
    [
        "__import__('os').system('true')",
        "s0.__class__",
        "eval(s0)",
        "open(1)",
        "s0; s1",
        "9**9**9",
        "Pow(Integer(9), Integer(9))",
        "Symbol('os')",
        "[s0]",
    ],
)
def test_an_extent_that_is_more_than_arithmetic_is_refused(tmp_path: Path, extent: str) -> None:
    with pytest.raises(FormatUnsupported, match="no arithmetic"):
        check_program(archive(tmp_path / "model.pt2", extent=extent))


@pytest.mark.parametrize(
    "target",
    [
        *("torch.load", "torch.hub.load", "torch.utils.cpp_extension.load", "torch.ops.load_library", "os.system"),
        *("_operator.call", "_operator.methodcaller", "#custom:op", "torch.ops.aten.linear.default.__class__.mro"),
    ],
)
def test_a_graph_calls_operators_only(tmp_path: Path, target: str) -> None:
    with pytest.raises(OperatorsUnsupported, match="no operator of PyTorch"):
        check_program(archive(tmp_path / "model.pt2", nodes=[LINEAR | {"target": target}]))


@pytest.mark.parametrize(
    "change", [{"use_pickle": True}, {"use_pickle": None}, {"path_name": "custom_obj_0"}, {"path_name": "../weight_0"}]
)
def test_what_would_be_unpickled_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(FormatUnsupported, match="w as a pickle"):
        check_program(archive(tmp_path / "model.pt2", weights={"config": {"w": TENSOR | change}}))
    constant = {"config": {"w": TENSOR | {"path_name": "tensor_0"} | change}}
    with pytest.raises(FormatUnsupported, match="w as a pickle"):
        check_program(archive(tmp_path / "model.pt2", constants=constant))


def test_pickled_weights_of_the_older_form_and_compiled_code_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatUnsupported, match="pickle"):
        check_program(archive(tmp_path / "model.pt2", data__weights__model_pt=b"", **{"data__weights__model.pt": b""}))
    with pytest.raises(FormatUnsupported, match="compiled code"):
        check_program(archive(tmp_path / "model.pt2", data__aotinductor__model=b""))


def test_packed_archives_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    with pytest.raises(FormatUnsupported, match="packed again"):
        check_program(archive(tmp_path / "model.pt2", compression=zipfile.ZIP_DEFLATED))


def test_a_second_program_and_an_archive_without_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatUnsupported, match="several"):
        check_program(archive(tmp_path / "model.pt2", **{"models__other.json": b"{}"}))


@pytest.mark.parametrize("content", [b"not JSON", b"[" * 100_000, b"\xff\xfe", b"null"])
def test_damage_is_told_as_such(tmp_path: Path, content: bytes) -> None:
    file = archive(tmp_path / "model.pt2")
    with zipfile.ZipFile(tmp_path / "damaged.pt2", "w") as made, zipfile.ZipFile(file) as whole:
        for name in whole.namelist():
            made.writestr(name, content if name.endswith("weights_config.json") else whole.read(name))
    with pytest.raises(ModelInvalid, match="damaged"):
        check_program(tmp_path / "damaged.pt2")


def test_a_file_that_is_cut_short_is_damaged_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = archive(tmp_path / "model.pt2").read_bytes()
    for length in range(0, len(whole) - 1, 37):
        (tmp_path / "model.pt2").write_bytes(whole[:length])
        with pytest.raises(TunerError):
            check_program(tmp_path / "model.pt2")
