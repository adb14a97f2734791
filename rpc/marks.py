"""Folders that are told to be ours by a file in them, so that a sweep takes nobody else's."""

from __future__ import annotations

import shutil
from pathlib import Path


def remove(folder: Path, mark: str) -> None:
    """Remove a marked folder as far as that can be; its mark goes last, so that what is left is still told to be ours.

    Links in it are removed, not followed.
    """
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != mark:
            entry.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
