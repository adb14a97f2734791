"""Texts of any lengths as a module for texts takes them, and its results as the caller's texts came. Needs numpy only.

The same file lies as ``texts.py`` beside ``loader.py`` in artifacts of that kind.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

Run = dict[str, np.ndarray]  # the inputs of one run by name, all one-dimensional
_LARGE = 512  # tokens of a call after which memory is given back
PACKED = ("positions", "starts")  # inputs that no caller gives: they say where the texts lie


class Texts:
    """Calls of a module for texts: ``call`` is one run of it, inputs and outputs in the manifest's order.

    Any thread may call; one call runs at a time, by a thread of its own: TVM starts workers for each thread that calls
    it, and they would fight for the cores.
    """

    def __init__(self, manifest: dict[str, Any], call: Callable[[list[np.ndarray]], list[np.ndarray]]) -> None:
        self._about: dict[str, int] = manifest["texts"]
        self._inputs = [spec["name"] for spec in manifest["inputs"]]
        self._outputs = [(spec["name"], spec["shape"][0] == "tokens") for spec in manifest["outputs"]]
        self._call = call
        self._turn = ThreadPoolExecutor(1, "tunesmith")

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Outputs by name for a caller's texts.

        They are lists of token ids, one list a text: what there is of each token is then a list of arrays
        ``(length, features)``. Or arrays ``(batch, seq)`` with their ``attention_mask``, as tokenizers pad them:
        padding is skipped, and is zeros in arrays ``(batch, seq, features)``. What there is of each text is
        ``(texts, features)``. Raises ValueError saying what is wrong.
        """
        wanted = self.packed(inputs)
        result = self._turn.submit(self._computed, wanted).result()
        if wanted.lengths.sum() >= _LARGE:
            self._turn.submit(give_back)  # while the caller goes on
        return result

    def run_here(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The same on the caller's thread."""
        return self._computed(self.packed(inputs))

    def _computed(self, wanted: Request) -> dict[str, Any]:
        parts = [self._call(run) for run in self.runs(wanted)]
        rows = parts[0] if len(parts) == 1 else [np.concatenate(part) for part in zip(*parts, strict=True)]
        return {
            name: wanted.by_token(value) if by_token else value
            for (name, by_token), value in zip(self._outputs, rows, strict=True)
        }

    def packed(self, inputs: dict[str, Any]) -> Request:
        """A caller's texts without padding."""
        return request(inputs, [name for name in self._inputs if name not in PACKED], self._about["longest"])

    def runs(self, wanted: Request) -> list[list[np.ndarray]]:
        """The inputs of each run, in the manifest's order."""
        runs = wanted.runs(self._about["most_tokens"], self._about["first_position"])
        return [[run[name] for name in self._inputs] for run in runs]


@dataclass(frozen=True)
class Request:
    """A caller's texts, packed: the tokens of all, one after the other, without padding.

    ``tokens`` holds the inputs that there is one of for each token; ``mask (batch, seq)`` says where they stood, None
    when the texts were lists.
    """

    lengths: np.ndarray
    tokens: dict[str, np.ndarray]
    mask: np.ndarray | None

    def runs(self, most_tokens: int, first_position: int) -> Iterator[Run]:
        """The request in runs of at most ``most_tokens`` tokens each; no text is cut."""
        ends = np.cumsum(self.lengths)
        first = 0
        while first < len(ends):
            begin = int(ends[first] - self.lengths[first])
            last = max(first + 1, int(np.searchsorted(ends, begin + most_tokens, side="right")))
            lengths = self.lengths[first:last]
            starts = np.cumsum(lengths) - lengths
            positions = np.arange(lengths.sum()) - np.repeat(starts, lengths) + first_position
            inputs = {name: values[begin : int(ends[last - 1])] for name, values in self.tokens.items()}
            yield inputs | {"positions": positions.astype(np.int32), "starts": starts.astype(np.int32)}
            first = last

    def by_token(self, rows: np.ndarray) -> list[np.ndarray] | np.ndarray:
        """Rows of all tokens ``(tokens, features)`` as the texts came: a list, or ``(batch, seq, features)`` with zeros
        where there is padding."""
        if self.mask is None:
            return np.split(rows, np.cumsum(self.lengths)[:-1])
        padded = np.zeros((*self.mask.shape, rows.shape[1]), rows.dtype)
        padded[self.mask] = rows
        return padded


def request(inputs: dict[str, Any], names: Sequence[str], longest: int) -> Request:
    """Pack what a caller gives: for each of ``names`` lists of numbers, or arrays ``(batch, seq)`` with an
    ``attention_mask`` (without one there is no padding). All but ``input_ids`` may be left out and are zeros then.

    Raises ValueError saying what is wrong.
    """
    unknown = sorted(set(inputs) - {*names, "attention_mask"})
    if unknown or "input_ids" not in inputs:
        got = ", ".join(sorted(inputs)) or "none"
        raise ValueError(f"The inputs are {', '.join([*names, 'attention_mask'])}; got {got}.")
    mask, ids = None, inputs["input_ids"]
    if isinstance(ids, np.ndarray) and ids.ndim == 2:
        mask = np.asarray(inputs.get("attention_mask", np.ones(ids.shape))).astype(bool)
        if mask.shape != ids.shape:
            raise ValueError(f"attention_mask has shape {mask.shape}, input_ids {ids.shape}.")
        lengths = mask.sum(axis=1)
    else:
        if inputs.get("attention_mask") is not None:
            raise ValueError("Lists of token ids have no padding: leave attention_mask out, or give arrays.")
        lengths = np.array([len(text) for text in ids], np.int64)
    if not len(lengths) or lengths.min() < 1:
        where = int(np.argmin(lengths)) if len(lengths) else 0
        raise ValueError(f"Text {where} has no tokens." if len(lengths) else "There are no texts.")
    if lengths.max() > longest:
        raise ValueError(f"Text {int(np.argmax(lengths))} has {lengths.max()} tokens, the model takes {longest}.")
    total = int(lengths.sum())
    tokens = {}
    for name in names:
        given = inputs.get(name)
        tokens[name] = np.zeros(total, np.int32) if given is None else _flat(name, given, lengths, mask)
    return Request(lengths, tokens, mask)


def _flat(name: str, given: Any, lengths: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    if mask is not None:
        array = np.asarray(given)
        if array.shape != mask.shape:
            raise ValueError(f"{name} has shape {array.shape}, input_ids {mask.shape}.")
        return array[mask].astype(np.int32)
    if [len(text) for text in given] != lengths.tolist():
        raise ValueError(f"{name} and input_ids are of different lengths.")
    return np.concatenate([np.asarray(text, np.int32) for text in given])


def give_back() -> None:
    """Hand free memory to the system: GNU's allocator keeps it, in ever more pieces, and a process seems to grow."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
