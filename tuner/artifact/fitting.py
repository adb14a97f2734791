"""Batches of padded texts as an artifact of one shape takes them: filled up, cut apart, and back again. Numpy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tuner.artifact.members import ArtifactError

Arrays = dict[str, np.ndarray]
_OF_TOKENS = ("last_hidden_state", "start_logits", "end_logits")
_TOKEN_HEADS = ("token-classification", "masked-lm")


@dataclass(frozen=True)
class Shape:
    """What an artifact was compiled for; ``padding`` is what each input is filled up with, 0 if it isn't named."""

    batch: int
    seq_len: int
    padding: Mapping[str, int]


@dataclass(frozen=True)
class Part:
    """One run: the first ``rows`` rows of its inputs are a caller's, and of each of those the first ``length``."""

    inputs: Arrays
    rows: int
    length: int


def is_of_tokens(head: str, name: str) -> bool:
    """Has this output a row for each token, ``(texts, length, ...)``? Else it has one for each text."""
    return name in _OF_TOKENS or (name == "logits" and head in _TOKEN_HEADS)


def parts(inputs: Arrays, shape: Shape) -> Iterator[Part]:
    """The runs that a caller's arrays ``(texts, length)`` take.

    A row that is left over repeats the first. Raises ArtifactError when the texts are longer than what was compiled, or
    the inputs of different shapes.
    """
    sizes = {value.shape for value in inputs.values()}
    if len(sizes) != 1 or len(next(iter(sizes))) != 2:
        told = ", ".join(f"{name} {value.shape}" for name, value in inputs.items())
        raise ArtifactError(f"Inputs are of one shape (texts, length); got {told}.")
    texts, length = sizes.pop()
    if length > shape.seq_len:
        raise ArtifactError(
            f"These texts have {length} tokens, this artifact is compiled for {shape.seq_len}: have the tokenizer cut "
            f"them (truncation=True, max_length={shape.seq_len}), or compile the model for any lengths (--lengths)."
        )
    for first in range(0, texts, shape.batch):
        part = {name: value[first : first + shape.batch] for name, value in inputs.items()}
        rows = min(shape.batch, texts - first)
        if (rows, length) != (shape.batch, shape.seq_len):
            part = {name: _filled(value, shape, shape.padding.get(name, 0)) for name, value in part.items()}
        yield Part(part, rows, length)


def _filled(value: np.ndarray, shape: Shape, padding: int) -> np.ndarray:
    filled = np.full((shape.batch, shape.seq_len), padding, value.dtype)
    filled[: len(value), : value.shape[1]] = value
    filled[len(value) :] = filled[0]
    return filled
