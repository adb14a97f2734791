"""Runs what may crash, hang or eat the memory in a process that may: by itself, limited, and told no secrets.

``python -m rpc.confined BYTES MODULE`` runs a module that way; it must not need PyTorch. Other files of the user's it
can read: this confines mistakes and what exploits a compiler's bugs by chance, not whoever may run code anyway.
"""

from __future__ import annotations

import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rpc.environment import harmless
from rpc.lean import prepare_lean_import
from rpc.lifeline import PARENT_ENV, die_with_parent

MAX_LINE_BYTES = 64 * 1024 * 1024
_LAST_WORDS_BYTES = 4000


@dataclass(frozen=True)
class Limits:
    """Seconds until it is ended, and bytes of memory of its own (libraries not counted)."""

    seconds: float
    memory_bytes: int


class Died(Exception):
    """It ended before it had said all; the message says how, as the end of a sentence."""


def lines(module: str, given: bytes, limits: Limits) -> Iterator[bytes]:
    """Run a module with ``given`` as its standard input; the lines that it prints, as they come.

    Raises Died when it does not end well. Whoever stops iterating ends it.
    """
    command = [sys.executable, "-m", "rpc.confined", str(limits.memory_bytes), module]
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as order:
        order.write(given)
        order.seek(0)
        process = subprocess.Popen(
            command,
            env={**harmless(os.environ), PARENT_ENV: str(os.getpid())},
            stdin=order,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        overdue = threading.Event()

        def end() -> None:
            overdue.set()
            _kill(process)

        timer = threading.Timer(limits.seconds, end)
        timer.start()
        try:
            assert process.stdout is not None
            with process.stdout as said:
                while line := said.readline(MAX_LINE_BYTES):
                    if not line.endswith(b"\n") and len(line) == MAX_LINE_BYTES:
                        raise Died("it said more than is listened to")
                    yield line
            process.wait()
        finally:
            timer.cancel()
            _kill(process)
            process.wait()
        if process.returncode:
            raise Died(_reason(process.returncode, overdue.is_set(), limits, _last_words(log.fileno())))


def run(module: str, given: bytes, limits: Limits) -> bytes:
    """The last line that a module prints. Raises Died."""
    last = b""
    for line in lines(module, given, limits):
        last = line
    return last


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it with whatever it started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _last_words(log: int) -> str:
    size = os.fstat(log).st_size
    text = os.pread(log, _LAST_WORDS_BYTES, max(size - _LAST_WORDS_BYTES, 0)).decode(errors="replace")
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _reason(code: int, overdue: bool, limits: Limits, last_words: str) -> str:
    if overdue:
        return f"it did not end within {limits.seconds:g} s"
    if "MemoryError" in last_words or "bad_alloc" in last_words:
        return f"it wanted more than {limits.memory_bytes / 2**20:,.0f} MiB of memory"
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it ended with code {code}: {last_words[:300]}"


def _confine(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    with suppress(OSError):  # where the kernel chooses whom to end for want of memory, it is this
        Path("/proc/self/oom_score_adj").write_text("1000")


def main() -> None:
    """Entry of ``python -m rpc.confined``."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m rpc.confined BYTES MODULE")
    die_with_parent()
    _confine(int(sys.argv[1]))
    prepare_lean_import()
    module = sys.argv[2]
    sys.argv[:] = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
