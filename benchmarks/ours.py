"""``python -m benchmarks.ours TASK SCORE FOLDER``: our rounds on a task, as the service's worker runs them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlmodel import select

from benchmarks.contest import Kernel, Score, Task, hand_in
from benchmarks.devices import HOST
from rpc.versions import PINS
from tuner.config import Settings
from tuner.db import records
from tuner.db.engine import make_engine, read, write
from tuner.db.migrate import upgrade
from tuner.db.models import Job, JobWorkload, Model, Record, Round, Workload
from tuner.measuring.measure import DeviceAddress
from tuner.search.round import Tuner
from tuner.targets import triples

_LEASE_SEC, _SESSION_SEC = 30.0, 120.0


class Workshop:
    """A task's kernels in an empty database below ``folder``, and a Tuner for them; ``settings`` as in ``Settings``."""

    def __init__(self, task: Task, folder: Path, **settings: Any) -> None:
        self.kernels, self.target, self.family = task.kernels, task.target, triples.family(task.target)
        self._settings = Settings(data_dir=folder, **settings)
        upgrade(self._settings)
        self.engine = make_engine(self._settings)
        with write(self.engine) as db:
            db.add(Model(id="bench", name="bench", source="preset", location="bench"))
            for kernel in task.kernels:
                records.put_workload(db, Workload(**kernel.model_dump(exclude={"evaluator"})))
        device = DeviceAddress(HOST, task.tracker_port, task.device_key, _LEASE_SEC, _SESSION_SEC)
        self._tuner = Tuner(self._settings, self.engine, lambda _: device)

    def tune(
        self, trials: int, cold: bool = False, on_round: Callable[[Kernel, int], None] = lambda kernel, done: None
    ) -> None:
        """A job of its own that tunes the kernels in turn, a round each; ``on_round`` gets the kernel and the trials
        before each."""
        job_id = self._job(trials, cold)
        batch = self._settings.round_batch
        for done in range(0, trials, batch):
            for kernel in self.kernels:
                on_round(kernel, done)
                with write(self.engine) as db:
                    row = Round(job_id=job_id, workload_id=kernel.id, batch=min(batch, trials - done))
                    db.add(row)
                    db.flush()
                    round_id = row.id
                self._tuner.run(job_id, round_id)

    def tried(self, kernel: Kernel) -> set[str]:
        """Ids of the kernel's candidates that are on record."""
        with read(self.engine) as db:
            return set(db.exec(select(Record.candidate).where(Record.workload_id == kernel.id)))

    def suggest(self, kernel: Kernel, candidates: Mapping[str, str]) -> None:
        """Store candidates, id and record JSON, that the next job is to measure before all others."""
        with write(self.engine) as db:
            for name, trace in candidates.items():
                fields = {"workload_id": kernel.id, "target_family": self.family, "target_json": self.target}
                records.add(db, Record(candidate=name, trace=trace, tvm_version=PINS["apache-tvm"], **fields))

    def close(self) -> None:
        """End the build processes and let go of the database."""
        self._tuner.builders.close()
        self.engine.dispose()

    def _job(self, trials: int, cold: bool) -> str:
        fields = {"target": "local", "target_json": self.target, "target_family": self.family, "cold": cold}
        with write(self.engine) as db:
            job = Job(model_id="bench", budget_trials=trials, **fields)
            db.add(job)
            db.flush()
            for kernel in self.kernels:
                known = [] if cold else records.best(db, kernel.id, self.family)
                best_us = known[0].mean_sec * 1e6 if known and known[0].mean_sec else None
                db.add(JobWorkload(job_id=job.id, workload_id=kernel.id, best_us=best_us))
            return job.id


def run(task: Task, folder: Path) -> Score:
    """Tune the kernels of a task."""
    workshop = Workshop(task, folder / "data")
    start = time.monotonic()
    workshop.tune(task.trials)
    seconds = time.monotonic() - start
    with read(workshop.engine) as db:
        rounds = db.exec(select(Round)).all()
        links = db.exec(select(JobWorkload)).all()
    workshop.close()
    return Score(
        tried=sum(row.measured for row in rounds),
        failed=sum(row.failed for row in rounds),
        seconds=seconds,
        best_us={link.workload_id: link.best_us for link in links if link.best_us},
    )


def main() -> None:
    """Entry of the process."""
    task_file, score_file, folder = map(Path, sys.argv[1:])
    hand_in(run(Task.model_validate_json(task_file.read_bytes()), folder), score_file)


if __name__ == "__main__":
    main()
