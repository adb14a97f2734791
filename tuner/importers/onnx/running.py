"""What an ONNX graph computes, by ONNX's own evaluator, in a process of its own: the file may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rpc.drafts import draft
from tuner.apart import Limits, answered
from tuner.errors import ModelInvalid

_SECONDS = 900.0
_MEMORY_BYTES, _TIMES_FILE = 3 * 2**30, 8  # activations; the file as bytes, as tensors, in float32, as arrays


@dataclass(frozen=True)
class Question:
    """A graph to run on the inputs in a file, and the file for what it computes."""

    model: Path
    inputs: Path
    outputs: Path


def run(model: Path, inputs: Mapping[str, np.ndarray], scratch: Path, name: str) -> dict[str, np.ndarray]:
    """Outputs by name, in the graph's order. Raises ModelInvalid when it can't be run."""

    def blamed(end: str) -> ModelInvalid:
        return ModelInvalid(
            f"What {name} computes can't be found out by running its graph: {end}.",
            "Export it again with opset 17, or give the folder that it was exported from.",
        )

    with draft(scratch) as folder:
        question = Question(model, folder / "inputs.npz", folder / "outputs.npz")
        np.savez(question.inputs, **dict(inputs))  # type: ignore[arg-type]
        limits = Limits(_SECONDS, _MEMORY_BYTES + _TIMES_FILE * _size(model))
        names: Sequence[str] = answered("tuner.importers.onnx.running_worker", question, limits, blamed)
        with np.load(question.outputs) as arrays:
            return {name: arrays[f"out{index}"] for index, name in enumerate(names)}


def _size(model: Path) -> int:
    return sum(file.stat().st_size for file in model.parent.iterdir() if file.is_file())
