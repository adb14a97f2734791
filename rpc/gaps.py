"""What reads much waits while this machine measures: it works in the gaps between measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from rpc.quiet import is_measuring

T = TypeVar("T")

_POLL_SEC = 0.1


class Gaps:
    """The moments in which nobody holds ``lock`` to measure; a wait for one lasts ``patience_sec`` at most.

    A single session may measure for minutes, one may follow the other, and a reader must not be kept for ever: after a
    wait in vain it goes on until its process has computed for ``turn_sec``, which is little beside what it waited.
    """

    def __init__(self, lock: Path, patience_sec: float = 20.0, turn_sec: float = 0.1) -> None:
        self._lock = lock
        self._patience_sec = patience_sec
        self._turn_sec = turn_sec
        self._turn_ends = float("-inf")  # in seconds of this process's CPU time
        self._seen_at = float("-inf")

    def wait(self) -> None:
        """Return in the next gap, or when it was waited for long enough; who asks again within a moment is in the same
        one."""
        now = time.monotonic()
        if now - self._seen_at < _POLL_SEC or time.process_time() < self._turn_ends:
            return
        while (is_busy := is_measuring(self._lock)) and time.monotonic() < now + self._patience_sec:
            time.sleep(_POLL_SEC)
        self._seen_at = time.monotonic()
        if is_busy:
            self._turn_ends = time.process_time() + self._turn_sec

    def each(self, blocks: Iterator[T]) -> Iterator[T]:
        """The blocks, each made in a gap."""
        while True:
            self.wait()
            try:
                block = next(blocks)
            except StopIteration:
                return
            yield block

    def asking(self, still_wanted: Callable[[], bool]) -> Callable[[], bool]:
        """The question that work asks now and then, answered in a gap."""

        def ask() -> bool:
            self.wait()
            return still_wanted()

        return ask
