"""Is what gets compiled the model that was brought? Its plain form is compared with the library's own forward."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tuner.errors import ModelInvalid
from tuner.importers.comparison import compare
from tuner.importers.families import FAMILIES
from tuner.importers.huggingface import LoadedModel
from tuner.importers.wrapper import variant

_MOST_TOKENS = 24
_RTOL = 5e-3  # two orders of summation in float32, through all layers of a deep network
# Rows of the check, by where their tokens are: as parts of the length, from and to.
_ROWS = {
    "full": (0.0, 1.0),
    "padded on the right": (0.0, 0.5),
    "padded on the left": (0.5, 1.0),
    "single token": (0.0, 0.0),
    "empty": (1.0, 1.0),
}
_REFUSED = ("padded on the left", "empty")  # by the loader, for families that take padding on the right only


def check_faithful(loaded: LoadedModel, seq_len: int) -> dict[str, Any]:
    """Compare a loaded model with the library's eager forward, which makes masks and positions itself.

    The rows are of at most 24 tokens, with ids from both ends of the vocabulary: full, padded on the right and on the
    left, a single token, none; only what belongs to tokens is compared. Returns the ``cases`` and the largest
    difference, for the manifest. Raises ModelInvalid where they differ: nothing else than the model that was brought
    is ever compiled.
    """
    length = max(1, min(seq_len, loaded.source.max_seq_len or seq_len, _MOST_TOKENS))
    cases = cases_of(loaded.source.family)
    inputs = probes(loaded, length, cases)
    tensors = [torch.from_numpy(inputs[name]) for name in loaded.input_names]
    with torch.inference_mode():
        ours, theirs = loaded.module(*tensors), variant(loaded, "eager")(*tensors)
    seen = inputs["attention_mask"] == 1
    got, want = {}, {}
    for name, one, other in zip(loaded.output_names, ours, theirs, strict=True):
        kept = compared(other.numpy(), seen)
        got[name], want[name] = one.numpy()[kept], other.numpy()[kept]
    found = compare(got, want, rtol=_RTOL)
    if not found.ok:
        raise ModelInvalid(
            f"{loaded.source.name} would not be compiled as the library computes it: outputs differ by "
            f"{found.max_rel_error:.2g} of their size.",
            f"Its configuration asks for something that is not known of the {loaded.source.family} family.",
        )
    return {"cases": cases, "max_abs_error": found.max_abs_error, "max_rel_error": found.max_rel_error}


def cases_of(family: str) -> list[str]:
    """The rows that a family is compared on: those that an artifact of it takes."""
    right_only = FAMILIES[family].right_only
    return [name for name in _ROWS if not (right_only and name in _REFUSED)]


def probes(loaded: LoadedModel, length: int, cases: list[str]) -> dict[str, np.ndarray]:
    padding, count = int(loaded.config.get("pad_token_id") or 0), len(cases)
    words = np.linspace(0, int(loaded.config["vocab_size"]) - 1, count * length).round().astype(np.int32)
    words[words == padding] = padding + 1 if padding == 0 else padding - 1  # padding is no word, to some families
    place, mask = np.arange(length), np.zeros((count, length), np.int32)
    for row, case in enumerate(cases):
        first, last = (int(np.ceil(part * length)) for part in _ROWS[case])
        mask[row] = (place >= first) & (place < (1 if case == "single token" else last))
    named = {
        "input_ids": np.where(mask == 1, words.reshape(length, count).T, padding).astype(np.int32),
        "attention_mask": mask,
        "token_type_ids": mask * 0,
    }
    return {name: np.ascontiguousarray(named[name]) for name in loaded.input_names}


def compared(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Which of the library's outputs are compared: those of tokens; of outputs by text all that are numbers."""
    if values.shape[:2] == seen.shape:
        return seen
    found: np.ndarray = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    return found
