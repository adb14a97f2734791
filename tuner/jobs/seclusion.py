"""Stages of a job that holds what others wrote, an operator or records of a log, run in a process of their own.

TVM believes what it schedules, and may crash, hang or eat the memory of it: then the job fails, and nobody else.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rpc.confined import Confined
from tuner.apart import asked
from tuner.config import Settings
from tuner.errors import StageFailed
from tuner.importers.operators.files import label
from tuner.jobs.making import OTHERS_HINT
from tuner.state import ROUND

ROUND_SEC, STAGE_SEC = 540.0, 3300.0  # a little less than the coordinator waits, which would end the worker
MODULE = "tuner.jobs.secluded_worker"


class Secluded:
    """The process of one job at a time; it stays from one round to the next, as its search does."""

    def __init__(self) -> None:
        # Its thread lives as long as this process: Linux ends a process with the thread that started it.
        self._thread = ThreadPoolExecutor(1, "secluded")
        self._process: Confined | None = None
        self._job_id = ""

    def run(self, settings: Settings, stage: str, job_id: str, more: dict[str, Any], what: str, most: int) -> None:
        """Run a stage there, ``more`` being its other arguments; ``what`` names the model, ``most`` is in bytes.

        Raises what the stage raises, and StageFailed when the process did not survive it or did not end.
        """
        self._thread.submit(self._run, settings, stage, job_id, more, what, most).result()

    def leave(self, job_id: str) -> None:
        """This job's turn has come: let go of another's process."""
        if self._job_id != job_id:
            self._thread.submit(self._close).result()

    def _run(self, settings: Settings, stage: str, job_id: str, more: dict[str, Any], what: str, most: int) -> None:
        if self._process is None or self._job_id != job_id:
            self._close()
            self._process, self._job_id = Confined(MODULE, most), job_id

        def blamed(end: str) -> StageFailed:
            return StageFailed(f"{stage} of {label(what)} for {job_id} could not be done: {end}.", OTHERS_HINT)

        try:
            question = stage, settings, {"job_id": job_id, **more}
            asked(self._process, question, ROUND_SEC if stage == ROUND else STAGE_SEC, blamed)
        finally:
            if stage != ROUND:
                self._close()

    def _close(self) -> None:
        if self._process is not None:
            self._process.close()
        self._process, self._job_id = None, ""


@functools.cache
def kept() -> Secluded:
    """This worker's."""
    return Secluded()
