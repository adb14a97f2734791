"""Moments that outlive a process and that no clock's change moves: a monotonic clock's reading, and of which boot."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil


def stamp(now: float) -> str:
    """A moment as text for a row; ``now`` is of ``time.monotonic``, in seconds."""
    return f"{_BOOT} {now:.3f}"


def reading(stamped: str) -> float | None:
    """The monotonic clock's reading at a moment, in seconds; None when it was another boot's or machine's clock."""
    boot, _, seconds = stamped.rpartition(" ")
    return float(seconds) if boot == _BOOT else None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # elsewhere the minute of the boot, which names it well enough on one machine
        return f"{platform.node()}-{round(psutil.boot_time() / 60)}"


_BOOT = _boot()  # asked for once, and not within a transaction
