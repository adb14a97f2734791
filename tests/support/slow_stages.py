"""The fake stages with rounds that stand still in their middle, so that something can be killed there."""

from __future__ import annotations

import os
import time

from tests.support.fake_stages import benchmark, compile_module, extract, finish, import_model, measure, verify
from tuner.config import Settings
from tuner.db.engine import make_engine, read, write
from tuner.db.models import Round

__all__ = ["benchmark", "compile_module", "extract", "import_model", "tune_round", "verify"]

PID_FILE = "worker.pid"
HELD_FILE = "held"  # while it lies in the data directory
BEFORE_HELD = 3  # candidates that a round measures first


def tune_round(settings: Settings, job_id: str, round_id: str) -> None:
    """Measure one candidate after the other, each in a transaction of its own, the fourth when nothing holds it; leave
    this worker's pid."""
    (settings.root / PID_FILE).write_text(str(os.getpid()))
    engine = make_engine(settings)
    with read(engine) as session:
        batch = session.get_one(Round, round_id).batch
    for number in range(batch):
        while number == BEFORE_HELD and (settings.root / HELD_FILE).exists():
            time.sleep(0.01)
        with write(engine) as session:
            measure(session, job_id, round_id, 1)
    with write(engine) as session:
        finish(session, round_id)
    engine.dispose()
