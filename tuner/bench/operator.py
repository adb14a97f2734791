"""The contestants of an operator's comparison: its compiled forms and PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tuner.bench.compiled import compiled_call
from tuner.bench.spec import Spec, Variant
from tuner.errors import InvalidInput
from tuner.importers.operators import torch_side
from tuner.importers.operators.importer import LoadedOperator, load_operator
from tuner.importers.snapshot import Fetched

Call = Callable[[], Any]


def operator_calls(spec: Spec, fetched: Fetched) -> dict[str, Call]:
    """Calls by variant, on one seeded input. Raises InvalidInput for a kind of contestant that an operator has not."""
    loaded = load_operator(fetched)
    inputs = loaded.samples()[0]
    return {
        entry.name: compiled_call(entry, inputs) if entry.kind == "tvm" else _torch_call(entry, loaded, inputs)
        for entry in spec.variants
    }


def _torch_call(entry: Variant, loaded: LoadedOperator, inputs: dict[str, Any]) -> Call:
    found = {"torch-eager": torch_side.function, "torch-product": torch_side.product}.get(entry.kind)
    function = found(loaded.operator) if found and loaded.operator else None
    if function is None:
        raise InvalidInput(f"{entry.name} ({entry.kind}) can't take part in the comparison of {loaded.name}.")
    tensors = [torch.from_numpy(value) for value in loaded.arguments(inputs)]
    return lambda: function(*tensors)
