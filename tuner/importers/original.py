"""Is the network that was made of a file what the file computes? Both are run and compared."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from tuner.errors import ModelInvalid
from tuner.importers.comparison import compare
from tuner.importers.faithful import compared, probes
from tuner.importers.pooled import Tail, load_tail
from tuner.importers.programs.importing import open_file
from tuner.importers.programs.model import FileModel
from tuner.importers.sentence import is_sentence_model, read_sentence
from tuner.importers.snapshot import Fetched
from tuner.importers.wrapper import variant

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel

_RTOL = 5e-3  # as between the library and our form of it
_ORDER = ("input_ids", "attention_mask", "token_type_ids")
_CASES = ("full", "padded on the right", "single token")
_TOKENS = 24

_Any = TypeVar("_Any")


def check_original(loaded: LoadedModel, fetched: Fetched, seq_len: int, scratch: Path) -> None:
    """Compare the library's network with the file that it was made of, on full, padded and single tokens; what belongs
    to no token is not compared.

    Raises ModelInvalid where an output of the file is none of the network's, and what opening it raises.
    """
    name = loaded.source.name
    model = open_file(fetched, len(_CASES), min(seq_len, loaded.source.max_seq_len or seq_len, _TOKENS), scratch)
    inputs = _meant({one.name: one for one in model.inputs}, name)
    if len({one.shape for one in inputs.values()}) > 1 or any(len(one.shape) != 2 for one in inputs.values()):
        raise ModelInvalid(f"{name} takes no batch of sequences.", f"Export it with the inputs {', '.join(_ORDER)}.")
    batch, length = inputs["input_ids"].shape
    rows = probes(loaded, length, list(_CASES))
    if "attention_mask" not in inputs:  # it was exported for texts without padding
        rows = {meaning: value[:1] for meaning, value in rows.items()}
    theirs = _of_file(model, {meaning: one.name for meaning, one in inputs.items()}, rows, batch)
    tensors = _of_library(loaded, fetched, rows)
    is_token = rows["attention_mask"] == 1
    for output, value in theirs.items():
        kept = compared(value, is_token)
        alike = [tensor.numpy()[kept] for tensor in tensors if tensor.shape == value.shape]
        if not any(compare({output: got}, {output: value[kept]}, rtol=_RTOL).ok for got in alike):
            raise ModelInvalid(
                f"{name} looks like a {loaded.source.family} model, but its output {output} is not what that computes.",
                "Give the folder that it was exported from, or export it again with the model's outputs only.",
            )


def _of_library(loaded: LoadedModel, fetched: Fetched, rows: Mapping[str, np.ndarray]) -> list[torch.Tensor]:
    """What the library computes of rows: the outputs of the head; of a model with a vector for each text, of which
    files have the tokens, that vector or both, all of these."""
    given = [torch.from_numpy(rows[one]) for one in loaded.input_names]
    plain = variant(loaded, "eager")
    with torch.inference_mode():
        tensors = list(plain(*given))
        if (tail := _tail_of(loaded, fetched)) is not None:
            has_pooler = getattr(loaded.network, "pooler", None) is not None
            plain.tail, plain.output_names = None, ("last_hidden_state", *(["pooler_output"] if has_pooler else []))
            hidden, *pooled = plain(*given)
            tensors += [hidden, *pooled, tail(hidden, torch.from_numpy(rows["attention_mask"]))]
    return tensors


def _tail_of(loaded: LoadedModel, fetched: Fetched) -> Tail | None:
    """What makes a vector of a text's tokens, also where the encoder alone was asked for."""
    folder, source = fetched.folder, loaded.source
    if loaded.module.tail is None and source.head == "encoder" and folder is not None and is_sentence_model(folder):
        with suppress(ModelInvalid):  # what can't be computed is then only missed where the file has it
            return load_tail(
                folder, read_sentence(folder).steps, loaded.network.config.hidden_size, source.allow_pickle
            )
    return loaded.module.tail


def _meant(given: Mapping[str, _Any], name: str) -> dict[str, _Any]:
    """A file's inputs by what they mean: by their names, or, where an exporter numbered them, in the library's
    order."""
    if "input_ids" in given and set(given) <= set(_ORDER):
        return dict(given)
    strange = [one for one in given if one not in _ORDER]
    if len(strange) < len(given) or not 0 < len(given) <= len(_ORDER):
        raise ModelInvalid(
            f"{name} takes {', '.join(strange) or 'no input_ids'}, which a compiled encoder does not.",
            f"Export it with the inputs {', '.join(_ORDER)}.",
        )
    return dict(zip(_ORDER, given.values(), strict=False))


def _of_file(
    model: FileModel, names: Mapping[str, str], rows: Mapping[str, np.ndarray], batch: int
) -> dict[str, np.ndarray]:
    """What the file computes of rows, so many at a time as it takes."""
    count = rows["input_ids"].shape[0]
    dtypes = {one.name: one.dtype for one in model.inputs}
    found: dict[str, list[np.ndarray]] = {}
    for first in range(0, count, batch):
        places = [min(first + offset, count - 1) for offset in range(batch)]
        feeds = {
            name: rows.get(meaning, np.zeros_like(rows["input_ids"]))[places].astype(dtypes[name])
            for meaning, name in names.items()
        }
        for output, values in model.reference(feeds).items():
            found.setdefault(output, []).append(values[: count - first])
    return {output: np.concatenate(values) for output, values in found.items()}
