"""Keeps a Mac from sleeping while somebody has it as a device: idle, or with its lid closed on power."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import suppress

_PROGRAM = "caffeinate"
_KILL_SEC = 2.0


def keep_awake(pid: int, program: str | None = None) -> subprocess.Popen[bytes] | None:
    """Until the process ``pid`` ends; gives what sees to that, for ``let_sleep``. None where a machine has no such
    ``program`` (by default macOS's own), or none can be started: then it may sleep, and a session on it is lost."""
    found = program or (shutil.which(_PROGRAM) if sys.platform == "darwin" else None)
    if found is None:
        return None
    with suppress(OSError):
        return subprocess.Popen([found, "-i", "-s", "-w", str(pid)], stdin=subprocess.DEVNULL)
    return None


def let_sleep(process: subprocess.Popen[bytes] | None) -> None:
    """End what keeps the machine awake."""
    if process is not None:
        process.terminate()
        try:
            process.wait(_KILL_SEC)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
