"""What a model in float32 makes of the sample sentences, and what each layer would lose at a lower precision, kept
beside its import.

The sentences were written for this product, which they share the licence of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rpc.drafts import draft
from rpc.lean import importing_transformers
from tuner.errors import PrecisionUnavailable
from tuner.importers.cache import Imported, Shape
from tuner.importers.fidelity import Fidelity, fidelity, gathered
from tuner.importers.snapshot import Fetched

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel
    from tuner.kernels.dots import Dot

_LEAST = 200  # texts, on which a loss is measured
_BATCH, _MOST_TOKENS = 16, 96  # of a module for texts; PyTorch gets as many at a time in any case
_PLACES = {"start_logits", "end_logits"}  # outputs with a number for each place, those of padding, too


def sentences() -> list[str]:
    """One or two hundred everyday ones: questions, reviews, news, instructions."""
    return resources.files("tuner.data").joinpath("sentences.txt").read_text(encoding="utf-8").splitlines()


@dataclass(frozen=True)
class Gate:
    """What a module of a lower precision has to pass: its loss is within the bounds and, where that is given, within
    ``max_drop`` (0..1), on ``texts`` of the user's, filled up with sample sentences to two hundred."""

    max_drop: float | None = None
    texts: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """All that is compared."""
        return [*self.texts, *sentences()[: max(0, _LEAST - len(self.texts))]] if self.texts else sentences()

    @property
    def file(self) -> str:
        """Where an import keeps what float32 makes of them."""
        return f"sentences-{_digest(*self.texts)}.npz" if self.texts else "sentences.npz"

    def file_of_layers(self, precision: str, dots: Mapping[str, Dot]) -> str:
        """Where it keeps what each layer would lose of them, by a target's instructions."""
        names = sorted(dot.name for dot in dots.values())
        return f"{self.file.removesuffix('.npz')}-{precision}-{_digest(*names)}.json"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def check_sentences(imported: Imported) -> None:
    """Raise PrecisionUnavailable for a model that takes no sentences: nobody could say what it loses."""
    if not imported.family:
        raise PrecisionUnavailable(
            f"{imported.name} is no encoder that is known, and is computed in float32 only.", "Leave out --precision."
        )


def know_sentences(
    root: Path,
    fetched: Fetched,
    imported: Imported,
    shape: Shape,
    gate: Gate,
    dots: Mapping[str, Dot],
    precision: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Compute what PyTorch makes of the sentences, and which layers lose how much at a precision, or at all (None), by
    the ``dots`` of a target, unless that was done: it loads the model for it, and ``say``s how far it is."""
    folder = root / imported.key
    layers = {one: folder / gate.file_of_layers(one, dots) for one in dots if precision in (None, one)}
    if all(path.is_file() for path in (folder / gate.file, *layers.values())):
        return
    say("loading the model in PyTorch")
    with importing_transformers():
        from tuner.importers.huggingface import load_torch
        from tuner.importers.rounded import layer_losses

    loaded = load_torch(fetched)
    tokens = min(imported.texts["longest"], _MOST_TOKENS) if imported.texts else shape.seq_len
    if not (folder / gate.file).is_file():
        _keep_outputs(folder / gate.file, loaded, gate, _BATCH if imported.texts else shape.batch, tokens, say)
    missing = {one: path for one, path in layers.items() if not path.is_file()}
    losses = layer_losses(loaded, gate.lines, tokens, missing, dots, say) if missing else {}
    for one, path in missing.items():
        with draft(root) as scratch:
            (scratch / path.name).write_text(json.dumps(losses[one].as_dict() if one in losses else None))
            (scratch / path.name).rename(path)


def _keep_outputs(
    path: Path, loaded: LoadedModel, gate: Gate, rows: int, tokens: int, say: Callable[[str], None]
) -> None:
    from tuner.importers.reference import in_batches

    inputs = in_batches(loaded, gate.lines, rows, tokens)
    arrays = {f"want.{name}": value for name, value in wanted_of(loaded, gate.lines, tokens, say).items()}
    arrays |= {f"in.{name}": np.stack([one[name] for one in inputs]) for name in inputs[0]}
    with draft(path.parent.parent) as scratch:
        np.savez(scratch / path.name, **arrays)  # type: ignore[arg-type]
        (scratch / path.name).rename(path)


def wanted_of(
    loaded: LoadedModel, lines: list[str], tokens: int, say: Callable[[str], None] = lambda line: None
) -> dict[str, np.ndarray]:
    """What float32 makes of lines: in batches, and without the padding that all of a batch have, whatever shape a
    module takes them in."""
    from tuner.importers.reference import in_batches, reference_outputs

    batches = in_batches(loaded, lines, _BATCH, tokens)

    def outputs() -> Iterator[tuple[Mapping[str, np.ndarray], np.ndarray]]:
        for n, batch in enumerate(batches):
            say(f"computing what float32 makes of the sentences ({n * _BATCH} of {len(lines)})")
            given = batch if _PLACES & set(loaded.output_names) else _without_padding(batch)
            yield reference_outputs(loaded, given), given["attention_mask"]

    return gathered(outputs(), len(lines))


def _without_padding(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays ``(texts, tokens)`` as long as the longest text among them, by their mask."""
    longest = int(batch["attention_mask"].sum(axis=1).max())
    return {name: np.ascontiguousarray(value[:, :longest]) for name, value in batch.items()}


def fidelity_of(root: Path, imported: Imported, gate: Gate, run: Callable[..., Mapping[str, Any]]) -> Fidelity:
    """How near ``run`` is to float32 on the sentences, which are known."""
    with np.load(root / imported.key / gate.file) as arrays:
        inputs = {name.removeprefix("in."): arrays[name] for name in arrays if name.startswith("in.")}
        want = {name.removeprefix("want."): arrays[name] for name in arrays if name.startswith("want.")}
    batches = [{name: value[n] for name, value in inputs.items()} for n in range(len(inputs["attention_mask"]))]
    count = len(next(iter(want.values())))
    got = gathered(((run(**batch), batch["attention_mask"]) for batch in batches), count)
    return fidelity(got, want, len(gate.texts))


def layers_of(root: Path, imported: Imported, gate: Gate, precision: str, dots: Mapping[str, Dot]) -> dict[str, Any]:
    """What each layer loses, as ``LayerLosses.as_dict``; nothing where that is not known."""
    path = root / imported.key / gate.file_of_layers(precision, dots)
    return (json.loads(path.read_text()) if path.is_file() else None) or {}
