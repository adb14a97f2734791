"""Real processes for tests: started tied to the test, looked at, killed, and waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from rpc.lifeline import child_env, python_module
from tuner.cli.ports import lasting_port

SLACK = 5.0  # so many times as long as on a quick machine that does nothing else may anything take
_HALTS_SEC = 20.0  # and so much longer where the machine stands still meanwhile, as shared ones do
_OFTEN_SEC, _SELDOM_SEC = 0.02, 0.1  # from one look to the next

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port nobody listens on just now, and that nobody is given who asks for any."""
    return lasting_port("127.0.0.1")


def patience(timeout_sec: float) -> float:
    """How many seconds anything may take that has this many on a quick machine which does nothing else."""
    return timeout_sec * SLACK + _HALTS_SEC


def wait_until(happened: Callable[[], object], timeout_sec: float, what: str = "it") -> None:
    """Look until ``happened`` is true; fails the test when it is not in time, with all ``patience``.

    It looks the less often the longer it takes: looks are on the cores that they wait for.
    """
    start = time.monotonic()
    while not happened():
        waited_sec = time.monotonic() - start
        assert waited_sec < patience(timeout_sec), f"{what} did not happen within {timeout_sec:g} s"
        time.sleep(min(_SELDOM_SEC, _OFTEN_SEC + waited_sec / 50))


@contextmanager
def within(timeout_sec: float) -> Iterator[None]:
    """The block must end in time, with all ``patience``."""
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    assert took < patience(timeout_sec), f"it took {took:.1f} s, instead of at most {timeout_sec:g}"


def is_running(pid: int) -> bool:
    """Is there such a process, and is it more than a zombie?"""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command_of(process: psutil.Process) -> str:
    """The command line of a process that runs; nothing of one that has ended, perhaps just now."""
    try:
        return " ".join(process.cmdline()) if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.Error:
        return ""


def with_all_below(process: psutil.Process) -> list[psutil.Process]:
    """The process and all that it started, as far as they are there."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return [process]


def family(pid: int) -> list[int]:
    """The process and all below it."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def python_code(code: str, *args: str) -> list[str]:
    """Command line of a few lines of Python."""
    return [sys.executable, "-c", code, *args]


@contextmanager
def running(argv: Sequence[str], **env: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed when the block ends, its output in ``stdout``."""
    process = subprocess.Popen(
        argv, cwd=ROOT, env=child_env(**env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        with process:
            try:
                yield process
            finally:
                process.kill()
    finally:
        assert process.returncode is not None


@contextmanager
def running_module(module: str, *args: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A module of ours as a process."""
    with running(python_module(module, *args), **env) as process:
        yield process


def kill_hard(pid: int) -> None:
    """``kill -9``."""
    assert pid > 0, "no such process, but the group of this one"
    os.kill(pid, signal.SIGKILL)


def stop_hard(pid: int) -> None:
    """``kill -STOP``, and wait until it stands still."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, 5, f"the stop of {pid}")


def oom_score_adj(pid: int) -> int:
    """How soon Linux ends the process when memory runs out: 1000 is first."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())
