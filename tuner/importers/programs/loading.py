"""Programs of ``torch.export``: from a ``.pt2`` file, or from any module in Python; with fixed shapes, in float32."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from transformers import modeling_outputs as _modeling_outputs  # noqa: F401  programs may return what it declares

from tuner.errors import ModelInvalid
from tuner.importers.programs.archive import check_program

_DTYPES = (torch.float32, torch.int64, torch.int32, torch.bool)
_ONLY_TENSORS = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # PyTorch's own: its unpickler then knows tensors and nothing else
_SAME_ROWS = {"aten.to", "aten._to_copy", "aten.view", "aten.reshape", "aten.unsqueeze", "aten.clone", "aten.alias"}


@dataclass(frozen=True)
class ProgramInput:
    """A tensor that a program takes. ``below``: ids, of an embedding with so many rows."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    below: int | None


def save_module(
    module: torch.nn.Module, example: Sequence[Any], file: Path, named: Mapping[str, Any] | None = None
) -> Path:
    """Export any module with example inputs, by position and by name, as a ``.pt2`` file that is tuned as models are.

    Raises as ``export_module``.
    """
    return save_program(export_module(module, example, named), file)


def export_module(
    module: torch.nn.Module, example: Sequence[Any], named: Mapping[str, Any] | None = None
) -> ExportedProgram:
    """Any module as a program, for the shapes of its example inputs.

    The module is exported in eval mode, which it keeps no longer than that. Raises ModelInvalid where PyTorch can't
    export it.
    """
    was_training = module.training
    try:
        return torch.export.export(module.eval(), tuple(example), dict(named or {}), strict=False)
    except Exception as error:  # whatever the module's own code, or the exporter, meets
        raise ModelInvalid(
            f"{type(module).__name__} can't be exported by torch.export: {_first_line(error)}",
            "See docs/models.md: what it computes may not depend on values, only on shapes.",
        ) from error
    finally:
        module.train(was_training)


def save_program(program: ExportedProgram, file: Path) -> Path:
    """The program as a ``.pt2`` file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of formats to come
        torch.export.save(program, file)
    return file


def load_program(file: Path, batch: int, seq_len: int) -> ExportedProgram:
    """The program in a file. Extents that it leaves open, the first of its inputs and the second, are ``batch`` and
    ``seq_len``. Raises ModelInvalid, FormatUnsupported."""
    check_program(file)
    try:
        with _only_tensors(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(file)
            extents = [_extents(file, tensor, batch, seq_len) for tensor in _tensors(file, program).values()]
            if any(is_open for is_open, _ in extents):
                program = _fixed(program, [shape for _, shape in extents])
    except ModelInvalid:
        raise
    except Exception as error:  # a damaged file is met by many kinds
        raise ModelInvalid(
            f"{file.name} can't be loaded by torch.export: {_first_line(error)}",
            f"Save it again with PyTorch {torch.__version__.partition('+')[0]}.",
        ) from error
    _check_dtypes(file, program)
    return program


def inputs_of(program: ExportedProgram) -> list[ProgramInput]:
    """The tensors that a program of fixed shapes takes, in order."""
    return [
        ProgramInput(name, tuple(map(int, node.meta["val"].shape)), node.meta["val"].dtype, _below(program, node))
        for name, node in _tensors(Path(), program).items()
    ]


def output_names(program: ExportedProgram) -> tuple[str, ...]:
    """Names of what a program returns: those of a dictionary or a model's output, else ``output``, or numbered."""
    spec = program.call_spec.out_spec
    count = len(program.graph_signature.user_outputs)
    keys = spec.context if spec is not None else None
    if isinstance(keys, list) and len(keys) == count and all(isinstance(key, str) for key in keys):
        return tuple(keys)
    return ("output",) if count == 1 else tuple(f"output{index}" for index in range(count))


def computed(program: ExportedProgram, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """PyTorch's outputs by name, as arrays, for arrays by name."""
    call = eager(program)
    with torch.inference_mode():
        outputs = call(*(torch.from_numpy(inputs[one.name]) for one in inputs_of(program)))
    return {name: value.numpy() for name, value in zip(output_names(program), outputs, strict=True)}


def eager(program: ExportedProgram) -> Any:
    """A program as a function of its tensors in order, that returns a list of tensors."""
    module, spec = program.module(check_guards=False), program.call_spec.in_spec

    def call(*tensors: torch.Tensor) -> list[torch.Tensor]:
        args, kwargs = torch.utils._pytree.tree_unflatten(list(tensors), spec)
        return list(torch.utils._pytree.tree_leaves(module(*args, **kwargs)))

    return call


def _tensors(file: Path, program: ExportedProgram) -> dict[str, Any]:
    """Placeholders of what users give, by name. Raises ModelInvalid for one that is no tensor."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    found = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind is not torch.export.graph_signature.InputKind.USER_INPUT:
            continue
        node = nodes[spec.arg.name]
        if not isinstance(node.meta.get("val"), torch.Tensor):
            raise ModelInvalid(
                f"{file.name} takes {spec.arg.name}, which is no tensor.",
                "Export a module that takes tensors only: wrap the rest.",
            )
        found[spec.arg.name] = node
    return found


def _extents(file: Path, node: Any, batch: int, seq_len: int) -> tuple[bool, tuple[int, ...]]:
    """Is any extent of an input open, and its shape with all of them known."""
    shape, wanted, is_open = [], (batch, seq_len), False
    for axis, extent in enumerate(node.meta["val"].shape):
        if isinstance(extent, int):
            shape.append(extent)
            continue
        is_open = True
        if axis >= len(wanted):
            raise ModelInvalid(
                f"{file.name} leaves extent {axis} of {node.name} open.",
                "Export it with fixed shapes; only the first two may be open: the batch and the length.",
            )
        shape.append(wanted[axis])
    return is_open, tuple(shape)


def _fixed(program: ExportedProgram, shapes: Sequence[tuple[int, ...]]) -> ExportedProgram:
    """The program exported again for these shapes."""
    nodes = list(_tensors(Path(), program).values())
    values = [torch.zeros(shape, dtype=node.meta["val"].dtype) for node, shape in zip(nodes, shapes, strict=True)]
    args, kwargs = torch.utils._pytree.tree_unflatten(values, program.call_spec.in_spec)
    return torch.export.export(program.module(), args, kwargs, strict=False)


def _check_dtypes(file: Path, program: ExportedProgram) -> None:
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and isinstance(value, torch.Tensor) and value.dtype not in _DTYPES:
            raise ModelInvalid(
                f"{file.name} has {node.name} in {str(value.dtype).removeprefix('torch.')}.",
                "Export it in float32: module.float(); ids are int64 or int32.",
            )


def _below(program: ExportedProgram, node: Any) -> int | None:
    """How many rows the embedding has whose ids an input are; None: it is none's."""
    todo = [node]
    while todo:
        one = todo.pop()
        for user in one.users:
            operator = str(user.target)
            if operator.startswith("aten.embedding.") and user.args[1] is one:
                return int(user.args[0].meta["val"].shape[0])
            if operator.rpartition(".")[0] in _SAME_ROWS:
                todo.append(user)
    return None


@contextmanager
def _only_tensors() -> Iterator[None]:
    before = os.environ.get(_ONLY_TENSORS)
    os.environ[_ONLY_TENSORS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ONLY_TENSORS]
        else:
            os.environ[_ONLY_TENSORS] = before


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
