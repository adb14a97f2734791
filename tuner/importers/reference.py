"""What the compiled module must compute: real text as input, and PyTorch's outputs."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel


_TEXT = (
    "The ship left the harbour before the morning light reached the water.",
    "It rained for three days, and on the fourth the river stood in the streets of the old town.",
    "A good tool does one thing and says clearly when it can't.",
    "Is the night train to the north still running in winter?",
    "She put the letter back on the table, closed the window and went down to the garden without a word.",
    "Bread needs flour, water, salt and time; of these, time is the hardest to buy.",
    "The committee found no fault with the bridge, but asked that its bolts be looked at every spring.",
    "Twelve people signed the paper in 1874, and nobody has read it since.",
)
_WORDS_OF_A_LINE = 5  # a short line that leaves most of a sequence to padding


def sample_inputs(loaded: LoadedModel, batch: int, seq_len: int) -> list[dict[str, np.ndarray]]:
    """Tokenised text as named int32 arrays ``(batch, seq_len)``: full sequences, short padded ones, and a mix.

    Uses the model's tokenizer; without one, words are hashed to ids of the vocabulary, so that the shape of the
    data (special ids, repeated words, padding on the right) stays that of real text.
    """
    long = " ".join(islice(cycle(_TEXT), 2 * (1 + seq_len // 8)))
    full = [" ".join((_TEXT[row % len(_TEXT)], long)) for row in range(batch)]
    short = [" ".join(_TEXT[row % len(_TEXT)].split()[:_WORDS_OF_A_LINE]) for row in range(batch)]
    mixed = [_TEXT[row % len(_TEXT)] if row % 2 == 0 else full[row] for row in range(batch)]
    return [encoded(loaded, lines, seq_len) for lines in (full, short, mixed)]


def reference_outputs(loaded: LoadedModel, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """PyTorch's float32 outputs by name, for arrays as ``sample_inputs`` makes them."""
    tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in loaded.input_names]
    with torch.inference_mode():
        outputs = loaded.module(*tensors)
    return {name: tensor.numpy() for name, tensor in zip(loaded.output_names, outputs, strict=True)}


def encoded(loaded: LoadedModel, lines: list[str], seq_len: int) -> dict[str, np.ndarray]:
    """Lines as named int32 arrays ``(lines, seq_len)``, cut off or padded on the right."""
    if loaded.tokenizer is None:
        named = _hashed(loaded.config, lines, seq_len)
    else:
        length = max(seq_len, 2)  # tokenizers don't cut off their own start and end marks
        named = dict(
            loaded.tokenizer(lines, padding="max_length", truncation=True, max_length=length, return_tensors="np")
        )
        # A tokenizer may know more than the model, which is said elsewhere: samples are what the model takes.
        named["input_ids"] = np.minimum(named["input_ids"], int(loaded.config["vocab_size"]) - 1)
    absent = np.zeros((len(lines), seq_len))
    return {
        name: np.ascontiguousarray(named.get(name, absent)[:, :seq_len], dtype=np.int32) for name in loaded.input_names
    }


def in_batches(loaded: LoadedModel, lines: list[str], batch: int, seq_len: int) -> list[dict[str, np.ndarray]]:
    """Lines as inputs of one shape; the last batch is filled up with the last line."""
    groups = [lines[first : first + batch] for first in range(0, len(lines), batch)]
    return [encoded(loaded, group + group[-1:] * (batch - len(group)), seq_len) for group in groups]


def _hashed(config: Mapping[str, Any], lines: list[str], seq_len: int) -> dict[str, np.ndarray]:
    """Words as ids by a checksum, between BERT's usual special ids (as far as the vocabulary goes)."""
    size = int(config["vocab_size"])
    pad = int(config.get("pad_token_id") or 0)
    start, end, first_word = (101, 102, 1000) if size > 2000 else (size - 2, size - 1, min(4, size // 2))
    ids = np.full((len(lines), seq_len), pad, dtype=np.int32)
    mask = np.zeros((len(lines), seq_len), dtype=np.int32)
    for row, line in enumerate(lines):
        words = [first_word + zlib.crc32(word.encode()) % (size - 2 - first_word) for word in line.lower().split()]
        tokens = [start, *words[: max(seq_len - 2, 0)], end][:seq_len]
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return {"input_ids": ids, "attention_mask": mask}
