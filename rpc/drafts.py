"""Folders to make something in that are gone afterwards, however that ended."""

from __future__ import annotations

import atexit
import fcntl
import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rpc import marks

_MARK = ".tunesmith-draft"


@contextmanager
def draft(root: Path, prefix: str = ".draft-") -> Iterator[Path]:
    """A folder of one's own below ``root``, whose name begins with ``prefix``: what is made in it can be renamed to its
    place. It goes at the end; those that killed processes of ours left there go first: they have our mark."""
    root.mkdir(parents=True, exist_ok=True)
    for other in root.glob(f"{glob.escape(prefix)}*"):
        _remove_if_left(other)
    folder, held = _make(root, prefix)
    try:
        yield folder
    finally:
        marks.remove(folder, _MARK)
        os.close(held)


def have_own_tempdir() -> None:
    """From now on this process, and what it starts, puts temporary files into a draft below the folder for them.

    Libraries make such files as they please and leave them when the process is killed: the next process that calls this
    removes them.
    """
    for_life = ExitStack()
    folder = for_life.enter_context(draft(Path(tempfile.gettempdir()), "tunesmith-tmp-"))
    atexit.register(for_life.close)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def _make(root: Path, prefix: str) -> tuple[Path, int]:
    """A folder and the lock on it, which the kernel frees when its process ends, however it ends."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        try:
            held = _open(folder)
        except FileNotFoundError:  # taken for left behind before it was held
            continue
        fcntl.flock(held, fcntl.LOCK_EX)
        if folder.exists():
            (folder / _MARK).touch()
            return folder, held
        os.close(held)


def _remove_if_left(folder: Path) -> None:
    try:
        held = _open(folder)
    except OSError:  # gone by now, or another user's
        return
    try:
        if os.fstat(held).st_uid == os.getuid() and (folder / _MARK).is_file():
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            marks.remove(folder, _MARK)
    except OSError:  # it is held, or went meanwhile
        pass
    finally:
        os.close(held)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
