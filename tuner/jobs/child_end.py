"""How a process that the coordinator holds is ended: asked first, killed if it does not listen."""

from __future__ import annotations

import subprocess
import threading

_GRACE_SEC = 2.0


def end(process: subprocess.Popen[bytes], name: str) -> None:
    """End it, without waiting for that; ``name`` is of the thread that does."""
    if process.poll() is None:
        process.terminate()
        threading.Thread(target=_see_it_end, args=(process,), name=name, daemon=True).start()


def _see_it_end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_GRACE_SEC)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
