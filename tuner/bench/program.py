"""The contestants of the comparison of a model that is no encoder: its compiled forms and PyTorch's program."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tuner.bench.compiled import compiled_call
from tuner.bench.outputs import checked
from tuner.bench.spec import Spec, Variant
from tuner.errors import InvalidInput
from tuner.importers.programs.importing import open_file
from tuner.importers.programs.inputs import samples
from tuner.importers.programs.loading import eager
from tuner.importers.programs.model import FileModel, Program
from tuner.importers.snapshot import Fetched

Call = Callable[[], Any]


def program_calls(spec: Spec, fetched: Fetched) -> tuple[dict[str, Call], dict[str, float]]:
    """Calls by variant on one seeded input, and how far each one's outputs are from the reference.

    Raises InvalidInput for a kind of contestant that such a model has not.
    """
    with tempfile.TemporaryDirectory() as scratch:
        model = open_file(fetched, spec.batch, spec.seq_len, Path(scratch))
        inputs = samples(model.inputs)[0]
        reference = model.reference(inputs)
    calls = {
        entry.name: compiled_call(entry, inputs) if entry.kind == "tvm" else _torch_call(entry, model, inputs)
        for entry in spec.variants
    }
    return calls, {name: checked(name, call(), reference).max_abs_error for name, call in calls.items()}


def _torch_call(entry: Variant, model: FileModel, inputs: dict[str, Any]) -> Call:
    if entry.kind != "torch-eager" or not isinstance(model, Program):
        raise InvalidInput(f"{entry.name} ({entry.kind}) can't take part: the model is no encoder that is known.")
    call = eager(model.program)
    tensors = [torch.from_numpy(inputs[one.name]) for one in model.inputs]
    return lambda: call(*tensors)
