"""How much memory a service's processes hold, sampled while it works."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from pydantic import BaseModel

from tuner.errors import ServiceUnreachable

EVERY_SEC = 1.0
WARM_UP_TRIALS = 100  # until every process has loaded all it needs; not counted as growth
_BUCKET_TRIALS = 50


class Sample(BaseModel):
    """Bytes of each part of a service at one moment.

    ``run`` is when that service started, ``trials`` what its data directory's jobs have measured by now.
    """

    run: str
    t_sec: float
    trials: int
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes of all processes together."""
        return sum(self.parts.values())


def parts_of(pids: dict[str, int]) -> dict[str, int]:
    """Bytes of each named process with all below it, and of the supervisor above them.

    Proportional set size where the system tells it (what processes share is counted once), else what is unique.
    """
    held = {name: sum(_bytes(process) for process in _family(pid)) for name, pid in pids.items()}
    try:
        above = psutil.Process(next(iter(pids.values()))).parent()
    except (StopIteration, psutil.NoSuchProcess):
        above = None
    return {"supervisor": _bytes(above) if above else 0, **held}


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return 0
    return int(getattr(memory, "pss", memory.uss))


class Sampler:
    """Appends a sample to a file every second for as long as its block lasts.

    ``run_file`` is the service's; ``trials`` tells how many candidates it has measured. Moments at which the service
    does not answer are left out; what else ends the sampling is raised at the end of the block.
    """

    def __init__(self, run_file: Path, trials: Callable[[], int], target: Path) -> None:
        self._run_file = run_file
        self._trials = trials
        self._target = target
        self._done = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._loop, name="memory-sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if self._failure and kind is None:
            raise self._failure

    def _loop(self) -> None:
        start = time.monotonic()
        try:
            while not self._done.wait(EVERY_SEC):
                with suppress(ServiceUnreachable):
                    self._append(time.monotonic() - start)
        except Exception as failure:
            self._failure = failure

    def _append(self, t_sec: float) -> None:
        service = json.loads(self._run_file.read_text())
        sample = Sample(
            run=service["started_at"],
            t_sec=round(t_sec, 1),
            trials=self._trials(),
            parts=parts_of(service["pids"]),
        )
        with self._target.open("a") as file:
            file.write(sample.model_dump_json() + "\n")


def load(path: Path) -> list[Sample]:
    """All samples of a file, none when it is not there."""
    return [Sample.model_validate_json(line) for line in path.read_text().splitlines()] if path.exists() else []


def growth_per_1000_trials(samples: list[Sample]) -> float | None:
    """Bytes that 1000 trials add: the slope of a line through medians of 50 trials each, the same for every run.

    None while no run has two such medians after its warm-up.
    """
    x: list[float] = []
    y: list[float] = []
    for run in sorted({sample.run for sample in samples}):
        buckets: dict[int, list[int]] = {}
        chosen = [sample for sample in samples if sample.run == run]
        first = min(sample.trials for sample in chosen)
        for sample in chosen:
            if sample.trials - first >= WARM_UP_TRIALS:
                buckets.setdefault(sample.trials // _BUCKET_TRIALS, []).append(sample.total)
        if len(buckets) > 1:
            trials = np.array(sorted(buckets), dtype=float) * _BUCKET_TRIALS
            held = np.array([np.median(buckets[bucket]) for bucket in sorted(buckets)])
            x += list(trials - trials.mean())
            y += list(held - held.mean())
    return float(np.dot(x, y) / np.dot(x, x) * 1000) if x else None
