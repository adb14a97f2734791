"""Imported models take room: those used longest ago go when there are more than the user wants. Needs no TVM."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from rpc.drafts import draft

ABOUT = "import.json"  # the last file of an import that is written
_NAME = re.compile(r"[0-9a-f]{20}")


@dataclass(frozen=True)
class Kept:
    """An import on disk; ``used_at`` as ``time.time`` gives it."""

    key: str
    size_bytes: int
    used_at: float


def note_use(root: Path, key: str) -> None:
    """The import is used now. Raises FileNotFoundError when it is not there."""
    os.utime(root / key / ABOUT)


def kept(root: Path) -> list[Kept]:
    """All imports below ``root``."""
    found = []
    for about in root.glob(f"*/{ABOUT}"):
        folder = about.parent
        if _NAME.fullmatch(folder.name) and not folder.is_symlink():
            size_bytes = sum(file.stat().st_size for file in folder.iterdir())
            found.append(Kept(folder.name, size_bytes, about.stat().st_mtime))
    return found


def surplus(found: Iterable[Kept], budget_bytes: int, idle_since: float, needed: Collection[str] = ()) -> list[Kept]:
    """Pure: what has to go for the rest to fit into the budget, what was used longest ago first; nothing that was used
    since then and none of the ``needed`` keys, whatever room they take."""
    found = sorted(found, key=lambda one: one.used_at)
    over = sum(one.size_bytes for one in found) - budget_bytes
    going = []
    for one in found:
        if over <= 0:
            break
        if one.used_at < idle_since and one.key not in needed:
            going.append(one)
            over -= one.size_bytes
    return going


def remove(root: Path, one: Kept) -> bool:
    """Remove an import, whole: who looks for it meanwhile finds all of it or nothing. False when somebody has used it
    since it was found, or has removed it."""
    folder = root / one.key
    with draft(root) as scratch:
        try:
            if (folder / ABOUT).stat().st_mtime > one.used_at:
                return False
            folder.rename(scratch / one.key)
        except FileNotFoundError:
            return False
    return True
