"""A path that ends or hangs the process that wants to write to it. A build process loads this module, and no more."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


class DeadlyPath(os.PathLike[str]):
    """``kind`` is kill, stop, spin or hang; with ``once`` only the process that comes first suffers.

    Each process that came has left a line in ``log``, as often as it came.
    """

    def __init__(self, kind: str, path: Path, once: bool = False) -> None:
        self.kind = kind
        self.path = path
        self.once = once
        self.home = os.getpid()  # where it is made, it is a path like any other

    @property
    def log(self) -> Path:
        """Who came."""
        return self.path.with_suffix(".log")

    def __fspath__(self) -> str:
        if os.getpid() == self.home:
            return str(self.path)
        been_here = self.once and self.log.exists()
        with self.log.open("a") as log:
            log.write(f"{os.getpid()}\n")
        if been_here:
            return str(self.path)
        end = time.monotonic() + 1000
        while self.kind in ("spin", "hang") and time.monotonic() < end:
            if self.kind == "hang":
                time.sleep(1)
        os.kill(os.getpid(), signal.SIGSTOP if self.kind == "stop" else signal.SIGKILL)
        raise AssertionError("still here")
