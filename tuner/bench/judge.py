"""How near contestants are to float32: a row of times says what its speed costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tuner.bench.contestant import Contestant
from tuner.bench.entrant import Entrant
from tuner.bench.field import Field
from tuner.bench.outputs import named_outputs
from tuner.importers.fidelity import fidelity, gathered
from tuner.importers.reference import in_batches
from tuner.importers.sentences import sentences, wanted_of

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel


def judge(field: Field, loaded: LoadedModel) -> dict[str, dict[str, float]]:
    """How near each contestant is to float32 on the sentences that are asked for."""
    spec = field.spec
    lines = sentences()[: spec.judged]
    texts = in_batches(loaded, lines, spec.batch, spec.seq_len)
    masks = [one["attention_mask"] for one in texts]

    def compared(outputs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        return gathered(zip(outputs, masks, strict=True), len(lines))

    def computed(one: Entrant | Callable[..., Any]) -> list[dict[str, Any]]:
        if isinstance(one, Contestant):
            return one.computed(texts, field.scratch)
        assert not isinstance(one, Entrant)
        return [named_outputs(one(given), loaded.output_names) for given in texts]

    want = wanted_of(loaded, lines, spec.seq_len)
    return {name: fidelity(compared(computed(one)), want).as_dict() for name, one in field.entrants.items()}
