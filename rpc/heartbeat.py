"""A file that says when its process last did what it is there for."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import time
from pathlib import Path

_TIME = struct.Struct("<d")  # seconds of the monotonic clock, the same in all processes of a machine


class Heartbeat:
    """The writer's side; ``path`` says nothing until the first `beat`. It always holds the same few bytes, so that a
    disk that is full later takes them as well."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._write(math.nan)

    def beat(self) -> None:
        """Say that all is well now."""
        self._write(time.monotonic())

    def close(self) -> None:
        """Beat no more."""
        os.close(self._file)

    def _write(self, seconds: float) -> None:
        with contextlib.suppress(OSError):  # no room for the first one: then nobody hears it
            os.pwrite(self._file, _TIME.pack(seconds), 0)


def age_sec(path: Path) -> float | None:
    """Seconds since the last beat; None when there was none since the machine started."""
    try:
        (beat,) = _TIME.unpack(path.read_bytes())
    except (OSError, struct.error):
        return None
    age = time.monotonic() - beat
    return age if age >= 0 else None  # NaN is not either
