"""How near contestants are to float32: a row of times says what its speed costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tuner.bench.outputs import named_outputs
from tuner.bench.spec import Spec
from tuner.importers.fidelity import fidelity, gathered
from tuner.importers.reference import encoded, reference_outputs
from tuner.importers.sentences import filled, sentences

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel


def judge(spec: Spec, loaded: LoadedModel, calls: Mapping[str, Callable[..., Any]]) -> dict[str, dict[str, float]]:
    """How near each contestant is to float32 on the sentences that are asked for."""
    lines = sentences()[: spec.judged]
    groups = [filled(lines[n : n + spec.batch], spec.batch) for n in range(0, len(lines), spec.batch)]
    texts = [encoded(loaded, group, spec.seq_len) for group in groups]
    masks = [one["attention_mask"] for one in texts]

    def compared(outputs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        found = gathered(zip(outputs, masks, strict=True))
        return {name: value[: len(lines)] for name, value in found.items()}

    want = compared([reference_outputs(loaded, one) for one in texts])
    named = {name: [named_outputs(call(one), loaded.output_names) for one in texts] for name, call in calls.items()}
    return {name: fidelity(compared(outputs), want).as_dict() for name, outputs in named.items()}
