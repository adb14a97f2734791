"""What a model in float32 makes of the sample sentences, kept beside its import, for those at a lower precision.

The sentences were written for this product, which they share the licence of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from rpc.drafts import draft
from tuner.errors import PrecisionUnavailable
from tuner.importers.cache import Imported, Shape
from tuner.importers.fidelity import Fidelity, fidelity, gathered
from tuner.importers.snapshot import Fetched

_FILE = "sentences.npz"
_BATCH, _MOST_TOKENS = 16, 96  # of a module for texts


def sentences() -> list[str]:
    """One or two hundred everyday ones: questions, reviews, news, instructions."""
    return resources.files("tuner.data").joinpath("sentences.txt").read_text(encoding="utf-8").splitlines()


def check_sentences(imported: Imported) -> None:
    """Raise PrecisionUnavailable for a model that takes no sentences: nobody could say what it loses."""
    if not imported.family:
        raise PrecisionUnavailable(
            f"{imported.name} is no encoder that is known, and is computed in float32 only.", "Leave out --precision."
        )


def know_sentences(root: Path, fetched: Fetched, imported: Imported, shape: Shape) -> None:
    """Compute what PyTorch makes of the sentences, unless that was done: it loads the model for it."""
    path = root / imported.key / _FILE
    if path.is_file():
        return
    from tuner.importers.huggingface import load_torch
    from tuner.importers.reference import in_batches, reference_outputs

    loaded = load_torch(fetched)
    lines = sentences()
    rows = _BATCH if imported.texts else shape.batch
    tokens = min(imported.texts["longest"], _MOST_TOKENS) if imported.texts else shape.seq_len
    inputs = in_batches(loaded, lines, rows, tokens)
    want = gathered(((reference_outputs(loaded, one), one["attention_mask"]) for one in inputs), len(lines))
    arrays = {f"want.{name}": value for name, value in want.items()}
    arrays |= {f"in.{name}": np.stack([one[name] for one in inputs]) for name in inputs[0]}
    with draft(root) as scratch:
        np.savez(scratch / _FILE, **arrays)  # type: ignore[arg-type]
        (scratch / _FILE).rename(path)


def fidelity_of(root: Path, imported: Imported, run: Callable[..., Mapping[str, Any]]) -> Fidelity:
    """How near ``run`` is to float32 on the sentences, which are known."""
    with np.load(root / imported.key / _FILE) as arrays:
        inputs = {name.removeprefix("in."): arrays[name] for name in arrays if name.startswith("in.")}
        want = {name.removeprefix("want."): arrays[name] for name in arrays if name.startswith("want.")}
    batches = [{name: value[n] for name, value in inputs.items()} for n in range(len(inputs["attention_mask"]))]
    count = len(next(iter(want.values())))
    return fidelity(gathered(((run(**batch), batch["attention_mask"]) for batch in batches), count), want)
