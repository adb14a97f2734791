"""What a head gives, as the transformers library has it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from transformers import modeling_outputs

_KINDS = {
    "sequence-classification": modeling_outputs.SequenceClassifierOutput,
    "token-classification": modeling_outputs.TokenClassifierOutput,
    "question-answering": modeling_outputs.QuestionAnsweringModelOutput,
    "masked-lm": modeling_outputs.MaskedLMOutput,
    "multiple-choice": modeling_outputs.MultipleChoiceModelOutput,
}


def model_output(head: str, values: Mapping[str, Any]) -> Any:
    """The library's ModelOutput of a head; of what is no head of the library's its one tensor, or several by name."""
    if head in _KINDS:
        return _made(_KINDS[head], values)
    if head == "encoder":
        with_pooler = "pooler_output" in values
        kind = modeling_outputs.BaseModelOutputWithPooling if with_pooler else modeling_outputs.BaseModelOutput
        return _made(kind, values)
    return next(iter(values.values())) if len(values) == 1 else dict(values)


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    """``kind(**values)`` for tensors by names of its fields. The library's own looks at all its fields once for each of
    them, which takes a third of what a call costs here."""
    made = kind.__new__(kind)
    for name, value in values.items():
        OrderedDict.__setitem__(made, name, value)
        object.__setattr__(made, name, value)
    return made
