"""A path that ends or hangs the process that wants to write to it. A build process loads this module, and no more."""

from __future__ import annotations

import os
import signal
import time


class DeadlyPath(os.PathLike[str]):
    """``kind`` is kill or hang."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __fspath__(self) -> str:
        if self.kind == "hang":
            time.sleep(1000)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still here")
