"""What processes log, and the files that hold it and stay small."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

log = logging.getLogger(__name__)

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)

_MAX_BYTES = 8 * 1024 * 1024
_KEEP = 3
_CHUNK = 65536
_SETTLE_SEC = 1.0


def start_logging(level: LogLevel) -> None:
    """Log to stderr what is of ``level`` or worse."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


class LogFile:
    """A file for all that a process and its children print, and the older ones beside it: ``NAME.1`` to ``NAME.3``.

    A thread of ours writes it, so that it can be renamed between two lines: nothing is lost, and nobody is held up.
    """

    def __init__(self, path: Path, max_bytes: int = _MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # what a process leaves behind may print while its successor does
        self._lost_bytes = 0
        self._copying: threading.Thread | None = None

    @contextlib.contextmanager
    def writer(self) -> Iterator[int]:
        """A descriptor to start a process with, as its output; ours is closed at the end."""
        with contextlib.suppress(OSError):
            self.path.touch()
        reader, writer = os.pipe()
        self._copying = threading.Thread(target=self._copy, args=(reader,), name=self.path.name, daemon=True)
        self._copying.start()
        try:
            yield writer
        finally:
            os.close(writer)

    def tail(self, lines: int) -> str:
        """The last ``lines`` lines of a process that has ended, or of one that has not; see `tail`."""
        if self._copying is not None:
            self._copying.join(_SETTLE_SEC)
        return tail(self.path, lines)

    def _copy(self, reader: int) -> None:
        with open(reader, "rb", buffering=0) as source:
            while chunk := source.read(_CHUNK):
                with self._lock:
                    self._append(chunk)

    def _append(self, chunk: bytes) -> None:
        """Write, and rename at the end of a line; what a full disk does not take is counted, and nobody waits."""
        cut = chunk.rfind(b"\n") + 1
        try:
            if self._lost_bytes:
                self._write(b"(%d bytes are missing here: the disk was full)\n" % self._lost_bytes)
                self._lost_bytes = 0
            for part, most_bytes in ((chunk[:cut], self._max_bytes), (chunk[cut:], 2 * self._max_bytes)):
                if part and self._write(part) > most_bytes:
                    rotate(self.path)
        except OSError as error:
            if not self._lost_bytes:
                log.warning("%s takes nothing for now: %s", self.path, error)
            self._lost_bytes += len(chunk)

    def _write(self, part: bytes) -> int:
        """Returns the size of the file."""
        with self.path.open("ab", buffering=0) as file:
            while part:
                part = part[file.write(part) :]
            return file.tell()


def rotate(path: Path) -> None:
    """Rename the file to ``NAME.1``, older ones on to ``.2`` and ``.3``; what was ``.3`` is dropped."""
    for number in range(_KEEP - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))


def tail(path: Path, lines: int) -> str:
    """The last ``lines`` lines, indented; reads at most 64 KiB."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 65536))
            text = file.read(65536).decode(errors="replace")
    except OSError:
        return "  (no log)"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])
