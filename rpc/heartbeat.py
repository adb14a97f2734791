"""A file that says when its process last did what it is there for."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

_MOST_NOTE_BYTES = 248
_BEAT = struct.Struct(
    f"<d{_MOST_NOTE_BYTES}s"
)  # seconds of the monotonic clock, the same in all processes of a machine


@dataclass(frozen=True)
class Beat:
    """The last beat: how long ago it was, and what its process had to say."""

    age_sec: float
    note: str


class Heartbeat:
    """The writer's side; ``path`` says nothing until the first `beat`. It always holds as many bytes, so that a disk
    that is full later takes them as well."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._write(math.nan, "")

    def beat(self, note: str = "") -> None:
        """Say that all is well now; a note of more than 248 bytes is cut."""
        self._write(time.monotonic(), note)

    def close(self) -> None:
        """Beat no more."""
        os.close(self._file)

    def _write(self, seconds: float, note: str) -> None:
        with contextlib.suppress(OSError):  # no room for the first one: then nobody hears it
            os.pwrite(self._file, _BEAT.pack(seconds, note.encode()), 0)


def last(path: Path) -> Beat | None:
    """The last beat; None when there was none since the machine started."""
    try:
        seconds, note = _BEAT.unpack(path.read_bytes())
    except (OSError, struct.error):
        return None
    age_sec = time.monotonic() - seconds
    return Beat(age_sec, note.rstrip(b"\0").decode(errors="ignore")) if age_sec >= 0 else None  # NaN is not either
