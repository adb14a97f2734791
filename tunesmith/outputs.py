"""What a head gives, as the transformers library has it."""

from __future__ import annotations

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
_OF_TOKENS = ("last_hidden_state", "start_logits", "end_logits")
_TOKEN_HEADS = ("token-classification", "masked-lm")


def model_output(head: str, values: Mapping[str, Any]) -> Any:
    """The library's ModelOutput of a head; of what is no head of the library's a dictionary."""
    if head in _KINDS:
        return _KINDS[head](**values)
    if head == "encoder":
        with_pooler = "pooler_output" in values
        kind = modeling_outputs.BaseModelOutputWithPooling if with_pooler else modeling_outputs.BaseModelOutput
        return kind(**values)
    return dict(values)


def is_of_tokens(head: str, name: str) -> bool:
    """Has this output a row for each token, ``(texts, length, ...)``? Else it has one for each text."""
    return name in _OF_TOKENS or (name == "logits" and head in _TOKEN_HEADS)
