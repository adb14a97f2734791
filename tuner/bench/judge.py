"""How near contestants are to float32: a row of times says what its speed costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tuner.bench.outputs import named_outputs
from tuner.bench.spec import Spec
from tuner.importers.fidelity import fidelity, gathered
from tuner.importers.reference import in_batches, reference_outputs
from tuner.importers.sentences import sentences

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel


def judge(spec: Spec, loaded: LoadedModel, calls: Mapping[str, Callable[..., Any]]) -> dict[str, dict[str, float]]:
    """How near each contestant is to float32 on the sentences that are asked for."""
    lines = sentences()[: spec.judged]
    texts = in_batches(loaded, lines, spec.batch, spec.seq_len)
    masks = [one["attention_mask"] for one in texts]

    def compared(outputs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        return gathered(zip(outputs, masks, strict=True), len(lines))

    want = compared([reference_outputs(loaded, one) for one in texts])
    named = {name: [named_outputs(call(one), loaded.output_names) for one in texts] for name, call in calls.items()}
    return {name: fidelity(compared(outputs), want).as_dict() for name, outputs in named.items()}
