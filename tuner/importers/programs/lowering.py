"""Programs and graphs of any kind as kernels: by TVM's importers, which say all that they don't take at once."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch.export import ExportedProgram, default_decompositions
from tvm.relax.frontend import detach_params

from tuner.errors import OperatorsUnsupported
from tuner.graph.pipeline import Prepared, in_place, prepare, prepare_imported
from tuner.importers.pytorch import kept_whole

_UNSEEN = 1e30  # taken off the score of what is not to be seen
_HINT = "Compute it by other operators; docs/models.md says which are taken."


def lower_program(name: str, program: ExportedProgram, kind: str) -> Prepared:
    """The kernels of a program of fixed shapes, for a kind of target. Raises OperatorsUnsupported naming each
    operator that is not taken."""
    from tvm.relax.frontend.torch.exported_program_translator import ExportedProgramImporter

    known = ExportedProgramImporter().convert_map
    missing: Counter[str] = Counter()
    for table in (kept_whole(), default_decompositions()):
        with _unwarned():
            decomposed = program.run_decompositions(table)
        missing = Counter(str(node.target) for node in _calls(decomposed) if _short(node.target) not in known)
        if not missing:
            _weigh_masks(decomposed)
            return _refusing(name, lambda: prepare(decomposed, kind))  # noqa: B023
    raise _unsupported(name, missing)


def _weigh_masks(program: ExportedProgram) -> None:
    """Masks of attention as what is added to its scores, 0 or next to minus infinity: the importer takes no other."""
    graph, aten = program.graph, torch.ops.aten
    for node in list(graph.nodes):
        if node.target is not aten.scaled_dot_product_attention.default:
            continue
        mask = node.args[3] if len(node.args) > 3 else node.kwargs.get("attn_mask")
        if mask is None or mask.meta["val"].dtype != torch.bool:
            continue
        with graph.inserting_before(node):
            seen = graph.call_function(aten._to_copy.default, (mask,), {"dtype": torch.float32})
            hidden = graph.call_function(aten.sub.Scalar, (seen, 1.0))
            added = graph.call_function(aten.mul.Scalar, (hidden, _UNSEEN))
        for made in (seen, hidden, added):
            made.meta["val"] = mask.meta["val"].to(torch.float32)
        node.replace_input_with(mask, added)


def lower_onnx(name: str, model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], kind: str) -> Prepared:
    """The kernels of an ONNX graph whose inputs have these shapes. Raises as ``lower_program``."""
    from tvm.relax.frontend.onnx import from_onnx
    from tvm.relax.frontend.onnx.onnx_frontend import _get_convert_map

    known = {*_get_convert_map(), "Constant"}
    missing = Counter(node.op_type for node in model.graph.node if node.op_type not in known)
    if missing:
        raise _unsupported(name, missing)

    def lower() -> Prepared:
        extents = {key: list(shape) for key, shape in shapes.items()}
        mod = from_onnx(model, shape_dict=extents, keep_params_in_input=True, sanitize_input_names=True)
        mod, params = detach_params(mod)
        return prepare_imported(mod, in_place(params.get("main", [])), kind)

    return _refusing(name, lower)


def _refusing(name: str, lower: Callable[[], Prepared]) -> Prepared:
    """What the importer finds out only while it converts, told as what it is."""
    try:
        with _unwarned():
            return lower()
    except (AssertionError, NotImplementedError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise OperatorsUnsupported(f"{name} can't be lowered by TVM's importer: {_last_line(error)}", _HINT) from error


@contextmanager
def _unwarned() -> Iterator[None]:
    """Without the warnings of what the importers themselves use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _calls(program: ExportedProgram) -> Iterable[Any]:
    return (node for node in program.graph.nodes if node.op == "call_function")


def _short(target: Any) -> str:
    return str(target.__name__)


def _unsupported(name: str, missing: Counter[str]) -> OperatorsUnsupported:
    listed = ", ".join(f"{one} ({count} times)" if count > 1 else one for one, count in sorted(missing.items()))
    return OperatorsUnsupported(f"{name} has operators that can't be compiled: {listed}.", _HINT)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]
