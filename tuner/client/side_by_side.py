"""Runtimes that read the same texts, each in a process of its own: what each costs, and whether they agree."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from rpc.confined import Confined
from tuner.bench.compare import interleave
from tuner.bench.contestant import Contestant
from tuner.bench.runtimes import how_to_install
from tuner.bench.stats import Stats
from tuner.bench.task import save
from tuner.client.reading_worker import LOGITS
from tuner.client.runtimes import PACKAGES
from tuner.errors import StageFailed, TunerError

IDLE_SEC = 10.0
_WORKER = "tuner.client.reading_worker"
_ROUNDS, _PER_ROUND, _WARMUP_SEC, _MAX_SEC = 10, 2, 0.3, 120.0


@dataclass(frozen=True)
class Texts:
    """Texts as each runtime gets them: one at a time, arrays ``(1, length)`` by name."""

    arrays: list[dict[str, np.ndarray]]
    names: list[str]
    """Of the labels, in the order of the logits."""


@dataclass(frozen=True)
class Row:
    """What one runtime did. ``note``: why it did not. Times are of one text, ``agreeing`` and ``max_abs_error`` against
    the first runtime that took part."""

    backend: str
    note: str = ""
    load_ms: float | None = None
    first_ms: float | None = None
    steady: Stats | None = None
    after_idle_ms: float | None = None
    memory_bytes: int | None = None
    labels: list[str] | None = None
    agreeing: int | None = None
    max_abs_error: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def side_by_side(
    backends: Sequence[str],
    place_of: Callable[[str, Path], Path],
    texts: Texts,
    threads: int,
    idle_sec: float,
) -> list[Row]:
    """A row for each runtime, in their order; they take turns. ``place_of(backend, scratch)`` gives the files that it
    opens."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder, ExitStack() as ends:
        scratch, notes = Path(folder), dict[str, str]()
        save(scratch / "texts.npz", texts.arrays)
        entered: dict[str, Contestant] = {}
        logits: dict[str, np.ndarray] = {}

        def lost(backend: str, failure: TunerError) -> None:
            notes[backend] = f"{failure.message} {failure.hint}".strip()
            entered.pop(backend, None)

        for backend in backends:
            if command := how_to_install(PACKAGES[backend]):
                notes[backend] = f"not installed: {command}"
                continue
            process = ends.enter_context(closing(Confined(_WORKER, psutil.virtual_memory().total)))
            try:
                order = {"kind": backend, "place": str(place_of(backend, scratch)), "threads": threads}
                one = Contestant(backend, process, order | {"inputs": str(scratch / "texts.npz")}, "")
                found = one.computed(texts.arrays, scratch)
            except TunerError as failure:
                lost(backend, failure)
                continue
            entered[backend], logits[backend] = one, np.concatenate([text[LOGITS] for text in found])
        stats = _timed(entered, lost)
        time.sleep(idle_sec)
        costs = {name: _costs(one, lost) for name, one in list(entered.items())}
    reference = next((logits[name] for name in backends if name in logits), None)
    return [
        Row(backend, notes[backend])
        if backend in notes or reference is None
        else _row(backend, stats[backend], costs[backend], logits[backend], reference, texts)
        for backend in backends
    ]


def _timed(entered: Mapping[str, Contestant], lost: Callable[[str, StageFailed], None]) -> dict[str, Stats]:
    """In turns, each on all of the texts."""
    if not entered:
        return {}
    return interleave(dict(entered), _ROUNDS, _PER_ROUND, _WARMUP_SEC, _MAX_SEC, lost=lost)


def _costs(one: Contestant, lost: Callable[[str, StageFailed], None]) -> dict[str, Any]:
    """Before it was warm, after its rest, and in memory."""
    try:
        after_idle_ms, memory_bytes = one.first_again_ms(), one.memory_bytes()
    except StageFailed as failure:
        lost(one.name, failure)
        return {}
    warm = {"after_idle_ms": after_idle_ms, "memory_bytes": memory_bytes}
    return {"load_ms": one.load_ms, "first_ms": one.first_ms, **warm}


def _row(
    backend: str,
    stats: Stats,
    costs: Mapping[str, Any],
    logits: np.ndarray,
    reference: np.ndarray,
    texts: Texts,
) -> Row:
    chosen = logits.argmax(axis=1)
    return Row(
        backend,
        **costs,
        steady=stats.each_of(len(texts.arrays)),
        labels=[texts.names[index] for index in chosen],
        agreeing=int((chosen == reference.argmax(axis=1)).sum()),
        max_abs_error=float(np.abs(logits - reference).max()),
    )
