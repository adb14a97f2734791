"""All processes below this one: what was left behind or stopped is ended, the dead are buried."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys
import time
from collections.abc import Collection, Iterator

import psutil

log = logging.getLogger(__name__)

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Descendants:
    """What this process has started, and what that has started. Use it from the thread that starts processes.

    A process that stands still (SIGSTOP) for ``stopped_sec`` hangs like any other that hangs; what lost its parent may
    go on for ``left_sec``, to end by itself.
    """

    def __init__(self, look_every_sec: float = 5.0, stopped_sec: float = 10.0, left_sec: float = 5.0) -> None:
        self._look_every_sec = look_every_sec
        self._stopped_sec, self._left_sec = stopped_sec, left_sec
        self._look_at = 0.0  # monotonic
        self._since: dict[tuple[str, int, float], float] = {}  # what is wrong with whom (pid, birth): since when

    def adopt(self) -> None:
        """From now on processes below us whose parent ends are our children, and do not become init's (Linux)."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def look(self, own: Collection[int]) -> None:
        """End what has been stopped or left behind for too long; ``own`` are the children that somebody waits for."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + self._look_every_sec
        seen = dict[tuple[str, int, float], float]()
        for process in _below():
            with contextlib.suppress(psutil.Error):  # it is gone
                for what, most_sec in self._troubles(process, own):
                    key = (what, process.pid, process.create_time())
                    seen[key] = self._since.get(key, now)
                    if now - seen[key] >= most_sec:
                        log.warning("process %d (%s) %s: killing it", process.pid, process.name(), what)
                        process.kill()
        self._since = seen

    def _troubles(self, process: psutil.Process, own: Collection[int]) -> Iterator[tuple[str, float]]:
        """What is wrong with a process, and for how many seconds it may be."""
        status = process.status()
        is_left = process.ppid() == os.getpid() and process.pid not in own
        if is_left and status == psutil.STATUS_ZOMBIE:
            _bury(process.pid)
        elif is_left:
            yield "was left behind by its parent", self._left_sec
        if status == psutil.STATUS_STOPPED:
            yield "was stopped", self._stopped_sec

    def end(self) -> None:
        """Kill all that is left and bury it."""
        left = _below()
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=2.0)
        for process in left:
            _bury(process.pid)


def _below() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _bury(pid: int) -> None:
    """Take note of a child's end, which is all that a zombie waits for."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
