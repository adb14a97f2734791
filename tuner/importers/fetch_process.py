"""``python -m tuner.importers.fetch_process``: bring one model's files, in a process of its own.

Reads an ``Order`` as JSON from its standard input. Each line that it prints is one ``Said``: how far it is, and at last
what it found or why there is nothing. It gives way to whatever else the machine computes, and waits while it measures.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel

from rpc.expendable import go_first
from rpc.gaps import Gaps
from rpc.logfile import start_logging
from tuner.errors import TunerError
from tuner.importers.copies import Room
from tuner.importers.snapshot import Found, bring
from tuner.importers.source import ModelSource
from tuner.schemas import ErrorBody

_TELL_EVERY_SEC = 0.2
_NICENESS = 19
_PATIENCE_SEC = 5.0  # with measurements: a hub ends a connection on which nobody reads
_UNFINISHED = ".incomplete"  # what the hub's library calls a file that it has not all of


class Order(BaseModel):
    """What to bring, below which folder, how large it may be, how much of a disk must stay free; what is locked while
    this machine measures."""

    source: ModelSource
    root: Path
    most_bytes: int
    least_free_bytes: int
    quiet_lock: Path


class Said(BaseModel):
    """``done`` bytes of ``total`` are here; ``found`` or ``error`` comes last."""

    done: int = 0
    total: int = 0
    found: Found | None = None
    error: ErrorBody | None = None


class Teller:
    """Prints progress, not more often than anybody would look; ``pause`` is called before any goes on."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self._pause = pause
        self._told_at = float("-inf")

    def __call__(self, done: int, total: int) -> None:
        self._pause()
        now = time.monotonic()
        if now - self._told_at >= _TELL_EVERY_SEC or done == total:
            self._told_at = now
            _say(Said(done=done, total=total))


def _say(said: Said) -> None:
    print(said.model_dump_json(exclude_none=True), flush=True)


def _stop(_number: int, _frame: object) -> None:
    """End at once and leave nothing half here; the library's threads can't be asked to."""
    for entry in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            file = entry.readlink()
            if file.name.endswith(_UNFINISHED):
                file.unlink()
    os._exit(128 + signal.SIGTERM)


def main() -> None:
    """Bring what the order says; exit code 1 when that can't be done."""
    signal.signal(signal.SIGTERM, _stop)
    os.nice(_NICENESS)
    go_first()
    start_logging("WARNING")
    order = Order.model_validate_json(sys.stdin.buffer.read())
    resource.setrlimit(resource.RLIMIT_FSIZE, (order.most_bytes, order.most_bytes))  # whatever a hub said before
    tell = Teller(Gaps(order.quiet_lock, _PATIENCE_SEC).wait)
    try:
        found = bring(order.source, order.root, Room(order.most_bytes, order.least_free_bytes), tell)
    except TunerError as error:
        _say(Said(error=ErrorBody(**error.as_dict())))
        sys.exit(1)
    _say(Said(found=found))


if __name__ == "__main__":
    main()
