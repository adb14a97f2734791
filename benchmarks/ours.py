"""``python -m benchmarks.ours TASK SCORE FOLDER``: our rounds on a task, as the service's worker runs them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sqlmodel import select

from benchmarks.contest import Score, Task, hand_in
from benchmarks.devices import HOST
from tuner import triples
from tuner.config import Settings
from tuner.db.engine import make_engine, read, write
from tuner.db.migrate import upgrade
from tuner.db.models import Job, JobWorkload, Model, Round, Workload
from tuner.search.measure import DeviceAddress
from tuner.search.round import Tuner

_LEASE_SEC, _SESSION_SEC = 30.0, 120.0


def run(task: Task, folder: Path) -> Score:
    """Tune the kernels in turn, a round each, in an empty database below ``folder``."""
    settings = Settings(data_dir=folder / "data")
    upgrade(settings)
    engine = make_engine(settings)
    with write(engine) as db:
        model = Model(name="bench", source="preset", location="bench")
        db.add(model)
        db.flush()
        family = triples.family(task.target)
        job = Job(
            model_id=model.id, target="local", target_json=task.target, target_family=family, budget_trials=task.trials
        )
        db.add(job)
        db.flush()
        job_id = job.id
        for kernel in task.kernels:
            db.add(Workload(**kernel.model_dump(exclude={"evaluator"})))
            db.flush()
            db.add(JobWorkload(job_id=job_id, workload_id=kernel.id))
    device = DeviceAddress(HOST, task.tracker_port, task.device_key, _LEASE_SEC, _SESSION_SEC)
    start = time.monotonic()
    tuner = Tuner(settings, engine, lambda _: device)
    for done in range(0, task.trials, settings.round_batch):
        for kernel in task.kernels:
            with write(engine) as db:
                row = Round(job_id=job_id, workload_id=kernel.id, batch=min(settings.round_batch, task.trials - done))
                db.add(row)
                db.flush()
                round_id = row.id
            tuner.run(job_id, round_id)
    seconds = time.monotonic() - start
    tuner.builders.close()
    with read(engine) as db:
        rounds = db.exec(select(Round)).all()
        links = db.exec(select(JobWorkload)).all()
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
