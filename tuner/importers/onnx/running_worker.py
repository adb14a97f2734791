"""What the process does that runs an ONNX graph. ``running`` starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from tuner.apart import told
from tuner.importers.onnx.widths import in_float32

if TYPE_CHECKING:
    from tuner.importers.onnx.running import Question


class GatherElements(OpRun):
    """The evaluator's own forgets the axis where it has more than 64 elements."""

    op_domain = ""

    def _run(self, data: np.ndarray, indices: np.ndarray, axis: int | None = None) -> tuple[np.ndarray]:
        return (np.take_along_axis(data, indices, axis or 0),)


def prepare() -> None:
    """Load ONNX's evaluator."""
    import tuner.importers.onnx.running  # noqa: F401


def answer(question: Question) -> dict[str, Any]:
    """Run it; the names of its outputs, whose values lie in the file then."""
    return told(lambda: _run(question))


def _run(question: Question) -> list[str]:
    model = onnx.load_model(question.model)
    in_float32(model)
    with np.load(question.inputs) as given:
        values = ReferenceEvaluator(model, new_ops=[GatherElements]).run(None, {name: given[name] for name in given})
    np.savez(question.outputs, **{f"out{index}": np.asarray(value) for index, value in enumerate(values)})  # type: ignore[arg-type]
    return [output.name for output in model.graph.output]
