"""Is what gets compiled the model that was brought? Its plain form is compared with the library's own forward."""

from __future__ import annotations

import numpy as np
import torch

from tuner.errors import ModelInvalid
from tuner.importers.comparison import Comparison, compare
from tuner.importers.huggingface import LoadedModel
from tuner.importers.wrapper import variant

_MOST_TOKENS = 24
_RTOL = 5e-3  # two orders of summation in float32, through all layers of a deep network


def check_faithful(loaded: LoadedModel, seq_len: int) -> Comparison:
    """Compare a loaded model with the library's eager forward, which makes masks and positions itself.

    Three rows of at most 24 tokens: a full one with ids from both ends of the vocabulary, one padded on the right to
    half of it, and one of a single token; only what belongs to tokens is compared. Raises ModelInvalid where they
    differ: nothing else than the model that was brought is ever compiled.
    """
    inputs = _rows(loaded, max(1, min(seq_len, loaded.source.max_seq_len or seq_len, _MOST_TOKENS)))
    tensors = [torch.from_numpy(inputs[name]) for name in loaded.input_names]
    with torch.inference_mode():
        ours, theirs = loaded.module(*tensors), variant(loaded, "eager")(*tensors)
    seen = inputs["attention_mask"] == 1
    got, want = (
        {name: _seen(tensor.numpy(), seen) for name, tensor in zip(loaded.output_names, outputs, strict=True)}
        for outputs in (ours, theirs)
    )
    found = compare(got, want, rtol=_RTOL)
    if not found.ok:
        raise ModelInvalid(
            f"{loaded.source.name} would not be compiled as the library computes it: outputs differ by "
            f"{found.max_rel_error:.2g} of their size.",
            f"Its configuration asks for something that is not known of the {loaded.source.family} family.",
        )
    return found


def _rows(loaded: LoadedModel, length: int) -> dict[str, np.ndarray]:
    padding = int(loaded.config.get("pad_token_id") or 0)
    words = np.linspace(0, int(loaded.config["vocab_size"]) - 1, 3 * length).round().astype(np.int32)
    words[words == padding] = padding + 1 if padding == 0 else padding - 1  # padding is no word, to some families
    lengths = np.array([length, (length + 1) // 2, 1])
    mask = (np.arange(length)[None, :] < lengths[:, None]).astype(np.int32)
    named = {
        "input_ids": np.where(mask == 1, words.reshape(length, 3).T, padding).astype(np.int32),
        "attention_mask": mask,
        "token_type_ids": mask * 0,
    }
    return {name: np.ascontiguousarray(named[name]) for name in loaded.input_names}


def _seen(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Of outputs by token those of tokens; of others all."""
    return values[seen] if values.shape[:2] == seen.shape else values
