"""A profile's texts as contestants take them: one at a time, and in batches as they come, padded where they need it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from tuner.artifact.loader import Runner, load
from tuner.bench.entrant import InParts
from tuner.bench.field import Field
from tuner.bench.outputs import named_outputs
from tuner.bench.spec import Spec, Variant
from tuner.bench.task import Task
from tuner.errors import StageFailed
from tuner.importers.wrapper import variant
from tuner.lengths import BATCHES, Lengths

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel

_TEXTS = 8  # that stand for the profile's


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
    few = Lengths(tuple(lengths)).few(_TEXTS)
    low = min(1000, vocabulary // 2)
    return Texts(
        [
            [rng.integers(low, vocabulary, length).astype(np.int32) for length in batch]
            for size in BATCHES
            for batch in few.batches(size)
        ]
    )


def texts_in_a_call(spec: Spec) -> int:
    """How many texts a contestant takes each time; at a fixed shape what it takes counts as one."""
    return len(BATCHES) * _TEXTS if spec.lengths else 1


def enter_texts(field: Field, loaded: LoadedModel) -> None:
    """Let contestants take part on a profile's texts. Raises StageFailed as ``Field.admit``."""
    spec = field.spec
    texts = texts_of(spec.lengths, int(loaded.config["vocab_size"]), spec.seed)
    place = next(n for n, batch in enumerate(texts.batches) if len(batch) > 1)  # padding must not count
    lengths = [len(text) for text in texts.batches[place]]
    task = Task(field.scratch / "texts.npz", texts.padded, loaded.input_names, loaded.output_names, place, lengths)
    right = named_outputs(task.computed_here(torch_call(loaded.module, loaded, texts)), loaded.output_names)
    field.admit(lambda entry: _call(entry, loaded, texts), task, task.trimmed(right))


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
