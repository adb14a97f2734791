"""Builds candidates in warm processes that may crash, hang or be killed without taking anything else along.

A build in a warm process takes tens of milliseconds; the stock builder starts fresh processes for each batch and pays
the import of TVM and of every tensor intrinsic each time.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from tuner.db.engine import storage_full
from tuner.measuring.build_process import BuildJob, BuildProcess, Built, Question, Tried

log = logging.getLogger(__name__)

_STARTS, _BACKOFF_SEC = 3, 2.0  # a machine that is out of memory or of processes for a moment
_NO_SPACE = os.strerror(errno.ENOSPC)
_LEAST_FREE_BYTES = 16 * 2**20  # a library is far smaller; below this the disk is to blame for what failed


class BuildPool:
    """Some build processes, a thread each; they start with the first batch and end with this process, however it ends.

    What fails is tried once more: only a candidate that fails twice is to blame, for anybody may kill or stop a build
    process, its linker too.
    """

    def __init__(self, workers: int, timeout_sec: float) -> None:
        self._timeout_sec = timeout_sec
        # The threads live as long as the pool: Linux ends a process with the thread that started it.
        self._threads = ThreadPoolExecutor(workers, "builder")
        self._idle: queue.SimpleQueue[BuildProcess] = queue.SimpleQueue()
        self._processes = [BuildProcess() for _ in range(workers)]
        for process in self._processes:
            self._idle.put(process)

    def build(self, jobs: Iterable[BuildJob]) -> list[Built]:
        """Build all, each as soon as ``jobs`` yields it; a candidate that fails, hangs or crashes its process is a
        result, never an exception.

        Raises:
            StorageFull: the disk takes no library.
            OSError: no process could be started.
        """
        futures: list[Future[Built]] = []
        try:
            for job in jobs:
                futures.append(self._threads.submit(self._build, job))
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
            wait(futures)  # whoever asked for these may remove their folder next

    def close(self) -> None:
        """End the processes now."""
        self._threads.shutdown()
        for process in self._processes:
            process.close()

    def ask(self, questions: Iterable[Question], timeout_sec: float) -> list[Tried]:
        """Have questions answered by processes that may not survive them.

        Raises:
            OSError: no process could be started.
        """
        return list(self._threads.map(lambda question: self._ask(question, timeout_sec), questions))

    def _build(self, job: BuildJob) -> Built:
        tried = self._ask(job, job.timeout_sec or self._timeout_sec)
        if not tried.problem:
            return Built(path=tried.answer)
        if _NO_SPACE in tried.problem or _is_full(Path(job.path).parent):
            raise storage_full(job.path)
        return Built("", "build_timeout" if tried.is_late else "build", tried.problem)

    def _ask(self, question: Question, timeout_sec: float) -> Tried:
        process = self._idle.get()
        try:
            tried = self._try(process, question, timeout_sec)
            if tried.problem and not tried.is_certain:
                tried = self._try(process, question, timeout_sec)
            return tried
        finally:
            self._idle.put(process)

    def _try(self, process: BuildProcess, question: Question, timeout_sec: float) -> Tried:
        for left in reversed(range(_STARTS)):
            try:
                return process.ask(question, timeout_sec)
            except OSError as error:
                if not left:
                    raise
                log.warning("no build process: %s; trying again in %g s", error, _BACKOFF_SEC)
                time.sleep(_BACKOFF_SEC)
        raise AssertionError("unreachable")


def _is_full(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free < _LEAST_FREE_BYTES
