"""Runtimes that read the same texts, each in a process of its own: what each costs, and whether they agree."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rpc.facts import BIND_ENV, THREADS_ENV
from rpc.lifeline import python_module, told_env
from tuner.bench.runtimes import how_to_install
from tuner.bench.stats import Stats, summarise
from tuner.client.runtimes import PACKAGES
from tuner.errors import TunerError

IDLE_SEC = 10.0
_TIMEOUT_SEC = 900.0


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
) -> Iterator[Row]:
    """A row for each runtime, in their order. ``place_of(backend, scratch)`` gives the files that it opens."""
    reference: np.ndarray | None = None
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        scratch = Path(folder)
        arrays: dict[str, Any] = {
            f"{name}/{n}": value for n, text in enumerate(texts.arrays) for name, value in text.items()
        }
        np.savez(scratch / "texts.npz", **arrays)
        for backend in backends:
            if command := how_to_install(PACKAGES[backend]):
                yield Row(backend, f"not installed: {command}")
                continue
            try:
                place = place_of(backend, scratch)
            except TunerError as error:
                yield Row(backend, f"{error.message} {error.hint}".strip())
                continue
            result = _measured(backend, place, scratch, threads, idle_sec)
            if "error" in result:
                yield Row(backend, result["error"])
                continue
            logits = np.asarray(result.pop("logits"))
            reference = logits if reference is None else reference
            yield _row(backend, result, logits, reference, texts.names)


def _row(backend: str, result: dict[str, Any], logits: np.ndarray, reference: np.ndarray, names: list[str]) -> Row:
    chosen = logits.argmax(axis=1)
    return Row(
        backend,
        load_ms=result["load_ms"],
        first_ms=result["first_ms"],
        steady=summarise([result["times_ms"]]),
        after_idle_ms=result["after_idle_ms"],
        memory_bytes=result["memory_bytes"],
        labels=[names[index] for index in chosen],
        agreeing=int((chosen == reference.argmax(axis=1)).sum()),
        max_abs_error=float(np.abs(logits - reference).max()),
    )


def _measured(backend: str, place: Path, scratch: Path, threads: int, idle_sec: float) -> dict[str, Any]:
    order, result = scratch / "order.json", scratch / "result.json"
    told = {"backend": backend, "place": str(place), "threads": threads, "idle_sec": idle_sec}
    order.write_text(json.dumps({**told, "texts": str(scratch / "texts.npz")}))
    result.unlink(missing_ok=True)
    env = told_env(**dict.fromkeys((THREADS_ENV, "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)))
    env.pop(BIND_ENV, None)  # how threads are bound an artifact's loader decides for itself
    command = python_module("tuner.client.reading_process", str(order), str(result))
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_TIMEOUT_SEC + idle_sec)
    except subprocess.TimeoutExpired:
        return {"error": f"it took longer than {_TIMEOUT_SEC:.0f} s"}
    if not result.is_file():
        last = done.stderr.strip().splitlines()[-1:] or [""]
        return {"error": f"its process ended with code {done.returncode}: {last[0]}"}
    found: dict[str, Any] = json.loads(result.read_bytes())
    return found
