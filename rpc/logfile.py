"""What processes log, and the files that they append it to and that we keep small."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Literal, get_args

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)

_MAX_BYTES = 8 * 1024 * 1024
_KEEP = 3


def start_logging(level: LogLevel) -> None:
    """Log to stderr what is of ``level`` or worse."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def rotate(path: Path, max_bytes: int = _MAX_BYTES) -> None:
    """Move the content of a file over ``max_bytes`` to ``NAME.1`` (older ones on to ``.2`` and ``.3``).

    The file itself is emptied, not replaced: whoever holds it open for appending goes on writing to it.
    """
    if not path.exists() or path.stat().st_size <= max_bytes:
        return
    for number in range(_KEEP, 1, -1):
        older = path.with_name(f"{path.name}.{number - 1}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)


def tail(path: Path, lines: int) -> str:
    """The last ``lines`` lines, indented; reads at most 64 KiB."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 65536))
            text = file.read().decode(errors="replace")
    except OSError:
        return "  (no log)"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])
