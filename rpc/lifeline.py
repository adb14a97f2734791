"""No process outlives the one that started it, not even after ``kill -9`` of the parent.

``python -m rpc.lifeline MODULE [ARGS...]`` runs any module as ``python -m MODULE`` would, tied to its parent.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading
import time

from rpc.environment import harmless, without_settings, without_token

PARENT_ENV = "TUNESMITH_PARENT_PID"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_POLL_SEC = 0.5


def die_with_parent(parent_pid: int | None = None) -> None:
    """End this process (SIGKILL) as soon as its parent has ended.

    ``parent_pid`` is who the parent was meant to be; by default what `PARENT_ENV` says, else the present parent.
    A parent that is gone already ends us here. On Linux the kernel watches the *thread* that started us: start
    processes from threads that live as long as their process.
    """
    told = os.environ.pop(PARENT_ENV, None)  # popped: it is not true for our own children
    expected = parent_pid or (int(told) if told else os.getppid())
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != expected:  # it ended before the kernel knew of our wish
            _end()
    else:
        threading.Thread(target=_watch, args=(expected,), name="lifeline", daemon=True).start()


def python_module(module: str, *args: str) -> list[str]:
    """Command line that runs a Python module tied to its parent."""
    return [sys.executable, "-m", "rpc.lifeline", module, *args]


def child_env(**extra: str) -> dict[str, str]:
    """Environment for a child process that calls `die_with_parent`: ours but for a token, ``extra``, and who its parent
    is."""
    return {**without_token(os.environ), **extra, PARENT_ENV: str(os.getpid())}


def told_env(**extra: str) -> dict[str, str]:
    """As `child_env`, without the service's settings: for a process that is told all it has to know of them."""
    return {**without_settings(os.environ), **extra, PARENT_ENV: str(os.getpid())}


def bare_env(**extra: str) -> dict[str, str]:
    """As `child_env`, of our environment only what is no secret: for processes that run what a search made."""
    return {**harmless(os.environ), **extra, PARENT_ENV: str(os.getpid())}


def _watch(expected: int) -> None:
    while os.getppid() == expected:
        time.sleep(_POLL_SEC)
    _end()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Entry of ``python -m rpc.lifeline``."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m rpc.lifeline MODULE [ARGS...]")
    die_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
