"""Is there room on the disk for what jobs write?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

LOOK_EVERY_SEC = 2.0
_MIB = 2**20


class DiskWatch:
    """``free_bytes`` says how much is left where ``root`` is; jobs need ``least_bytes``."""

    def __init__(self, free_bytes: Callable[[], int], least_bytes: int, root: Path) -> None:
        self._free_bytes = free_bytes
        self._least_bytes = least_bytes
        self._root = root
        self._looked_at = float("-inf")
        self._problem = ""

    def problem(self, now: float) -> str:
        """Why nothing that writes can start, for people; empty when there is room. ``now`` is monotonic, in seconds."""
        if now - self._looked_at >= LOOK_EVERY_SEC:
            self._looked_at = now
            free, least = self._free_bytes(), self._least_bytes
            self._problem = (
                f"{free / _MIB:.0f} MiB are free where {self._root} is, less than the {least / _MIB:.0f} MiB "
                "that jobs need (TUNER_MIN_FREE_BYTES)."
                if free < least
                else ""
            )
        return self._problem
