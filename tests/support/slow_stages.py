"""The fake stages with rounds that take their time, so that something can be killed in the middle of one."""

from __future__ import annotations

import os
import time

from tests.support.fake_stages import benchmark, compile_module, extract, finish, import_model, measure, verify
from tuner.config import Settings
from tuner.db.engine import make_engine, read, write
from tuner.db.models import Round

__all__ = ["benchmark", "compile_module", "extract", "import_model", "tune_round", "verify"]

PID_FILE = "worker.pid"
_CANDIDATE_SEC = 0.03


def tune_round(settings: Settings, job_id: str, round_id: str) -> None:
    """Measure one candidate after the other, each in a transaction of its own; leave this worker's pid."""
    (settings.root / PID_FILE).write_text(str(os.getpid()))
    engine = make_engine(settings)
    with read(engine) as session:
        batch = session.get_one(Round, round_id).batch
    for _ in range(batch):
        time.sleep(_CANDIDATE_SEC)
        with write(engine) as session:
            measure(session, job_id, round_id, 1)
    with write(engine) as session:
        finish(session, round_id)
    engine.dispose()
