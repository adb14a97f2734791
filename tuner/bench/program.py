"""The contestants of the comparison of a model that is no encoder: its compiled forms and PyTorch's program."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tuner.bench.compiled import compiled_call
from tuner.bench.field import Field
from tuner.bench.spec import Variant
from tuner.bench.task import Task
from tuner.errors import StageFailed
from tuner.importers.programs.importing import open_file
from tuner.importers.programs.inputs import samples
from tuner.importers.programs.loading import eager
from tuner.importers.programs.model import FileModel, Program
from tuner.importers.snapshot import Fetched

Call = Callable[..., Any]


def enter_program(field: Field, fetched: Fetched) -> None:
    """Let contestants take part on one seeded input.

    Raises StageFailed as ``Field.admit``, also for a kind of contestant that such a model has not.
    """
    spec = field.spec
    with tempfile.TemporaryDirectory() as scratch:
        model = open_file(fetched, spec.batch, spec.seq_len, Path(scratch))
        inputs = samples(model.inputs)[0]
        reference = model.reference(inputs)
    names = tuple(one.name for one in model.inputs)
    of_encoders = {entry.kind for entry in spec.variants} - {"tvm", "onnx-file", "graphdef"}
    task = Task(field.scratch / "inputs.npz", [inputs], names, tuple(reference), only_here=of_encoders)
    field.admit(
        lambda entry: compiled_call(entry, inputs) if entry.kind == "tvm" else _torch_call(entry, model, inputs),
        task,
        reference,
    )


def _torch_call(entry: Variant, model: FileModel, inputs: dict[str, Any]) -> Call:
    if entry.kind != "torch-eager" or not isinstance(model, Program):
        raise StageFailed(
            f"{entry.name} can't take part: the model is no encoder that is known.",
            "Leave it out, or give the model as the FILE.onnx that it opens.",
        )
    call = eager(model.program)
    tensors = [torch.from_numpy(inputs[one.name]) for one in model.inputs]
    return lambda: call(*tensors)
