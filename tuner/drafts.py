"""What is made whole or not at all: a folder to make it in, which is gone afterwards however that ended."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = ".draft-"


@contextmanager
def draft(root: Path) -> Iterator[Path]:
    """A folder of one's own below ``root``: what is made in it can be renamed to its place.

    It goes at the end. Those of killed processes go when the next is made and nobody else works on one.
    """
    root.mkdir(parents=True, exist_ok=True)
    held = os.open(root, os.O_RDONLY)  # a lock on it is freed by the kernel when its process ends, however it ends
    try:
        with suppress(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in root.glob(f"{_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
        fcntl.flock(held, fcntl.LOCK_SH)
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=root) as folder:
            yield Path(folder)
    finally:
        os.close(held)
