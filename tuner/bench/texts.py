"""A profile's texts as contestants take them: one at a time, and in batches as they come, padded where they need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from tuner.artifact.loader import Runner, load
from tuner.bench.compare import InParts
from tuner.bench.outputs import checked
from tuner.bench.spec import Spec, Timing, Variant
from tuner.errors import StageFailed
from tuner.importers.wrapper import variant
from tuner.lengths import Lengths

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel

_TEXTS = 8  # of the profile, from its shortest to its longest
_BATCHES = (1, 8)


@dataclass(frozen=True)
class Texts:
    """``batches`` of token ids, each text once for each size of batch."""

    batches: list[list[np.ndarray]]

    @property
    def padded(self) -> list[dict[str, np.ndarray]]:
        """The batches as tokenizers give them: arrays as long as the longest text of each, with a mask."""
        found = []
        for batch in self.batches:
            shape = (len(batch), max(map(len, batch)))
            ids, mask = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
            for row, text in enumerate(batch):
                ids[row, : len(text)], mask[row, : len(text)] = text, 1
            found.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros(shape, np.int32)})
        return found


def texts_of(lengths: list[int], vocabulary: int, seed: int) -> Texts:
    """Seeded random ids of the profile's lengths."""
    rng = np.random.default_rng(seed)
    few = Lengths(tuple(lengths[int((n + 0.5) * len(lengths) / _TEXTS)] for n in range(_TEXTS)))
    low = min(1000, vocabulary // 2)
    return Texts(
        [
            [rng.integers(low, vocabulary, length).astype(np.int32) for length in batch]
            for size in _BATCHES
            for batch in few.batches(size)
        ]
    )


def texts_in_a_call(spec: Spec) -> int:
    """How many texts a contestant takes each time; at a fixed shape what it takes counts as one."""
    return len(_BATCHES) * _TEXTS if spec.lengths else 1


def of_one(timing: Timing, texts: int) -> Timing:
    """Times of so many texts as those of one."""
    names = ("median_ms", "p10_ms", "p90_ms", "mean_ms", "std_ms")
    times = {name: value / texts for name in names if (value := getattr(timing, name)) is not None}
    return timing.model_copy(update={**times, "rounds_ms": [one / texts for one in timing.rounds_ms]})


def text_calls(spec: Spec, loaded: LoadedModel) -> tuple[dict[str, InParts], dict[str, float]]:
    """The contestants, and how far each one's outputs are from PyTorch's. Raises StageFailed."""
    texts = texts_of(spec.lengths, int(loaded.config["vocab_size"]), spec.seed)
    names = loaded.output_names
    reference = outputs_of(torch_call(loaded.module, loaded, texts), texts, names)
    calls = {entry.name: _call(entry, loaded, texts) for entry in spec.variants}
    errors = {
        entry.name: checked(
            entry.name, outputs_of(calls[entry.name], texts, names), reference, entry.precision
        ).max_abs_error
        for entry in spec.variants
    }
    return calls, errors


def _call(entry: Variant, loaded: LoadedModel, texts: Texts) -> InParts:
    if entry.kind == "tvm":
        return compiled_call(load(entry.path), texts)
    if entry.kind not in ("torch-eager", "torch-sdpa"):
        raise StageFailed(f"{entry.name} does not take part where lengths vary.", "Leave it out.")
    return torch_call(variant(loaded, "eager" if entry.kind == "torch-eager" else "sdpa"), loaded, texts)


def compiled_call(runner: Runner, texts: Texts) -> InParts:
    """All batches by an artifact for texts."""
    return InParts([partial(runner.run, input_ids=batch) for batch in texts.batches])


def torch_call(module: torch.nn.Module, loaded: LoadedModel, texts: Texts) -> InParts:
    """All batches by a PyTorch module, padded."""
    inputs = [[torch.from_numpy(batch[name]) for name in loaded.input_names] for batch in texts.padded]
    return InParts([partial(module, *tensors) for tensors in inputs])


def outputs_of(call: InParts, texts: Texts, names: tuple[str, ...]) -> Mapping[str, np.ndarray]:
    """What a contestant made of the first batch that holds several texts, without what is padding."""
    place = next(n for n, batch in enumerate(texts.batches) if len(batch) > 1)
    found, lengths = call.parts[place](), [len(text) for text in texts.batches[place]]
    values = found if isinstance(found, dict) else dict(zip(names, (value.numpy() for value in found), strict=True))
    return {
        name: np.concatenate([rows[:length] for rows, length in zip(values[name], lengths, strict=True)])
        if name == "last_hidden_state"
        else np.asarray(values[name])
        for name in names
    }
