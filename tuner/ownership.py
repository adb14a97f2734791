"""Whose a data directory is: nothing is written into a folder that holds something else, or belongs elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from tuner.config import Settings
from tuner.errors import DataDirForeign

_NOBODYS = {"lost+found"}  # a disk's own
_OTHER_FOLDER = "or start with --data-dir on another folder."


def claim(settings: Settings) -> None:
    """Make the data directory, closed to other users, or take one that is empty or ours; ``run`` is closed in any case.

    Raises:
        DataDirForeign: the folder holds something, and nothing says that it is a data directory.
    """
    root, mark = settings.root, settings.database_id_file
    if not mark.is_file():
        if root.exists() and not (_is_empty(root) or _is_of_an_earlier_release(root)):
            raise DataDirForeign(
                f"{root} is not empty and is no data directory of TuneSmith's.",
                f"Start with --data-dir on an empty folder; if it is TuneSmith's, say so: `mkdir -p {mark.parent} && "
                f"touch {mark}`.",
            )
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.parent.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT, 0o600))
    if mark.parent.stat().st_mode & 0o077 and mark.parent.stat().st_uid == os.getuid():
        mark.parent.chmod(0o700)  # an earlier release left it open


def bound_id(settings: Settings) -> str:
    """The id of the database that a claimed data directory belongs to; empty while it has none."""
    return settings.database_id_file.read_text().strip()


def id_if_known(settings: Settings) -> str:
    """The same of any folder; empty when it is no data directory."""
    return bound_id(settings) if settings.database_id_file.is_file() else ""


def bind(settings: Settings, database_id: str | None) -> None:
    """Note that the claimed data directory belongs to a database; None is one that has no id yet.

    Raises:
        DataDirForeign: it belongs to another one.
    """
    mark, bound = settings.database_id_file, bound_id(settings)
    if bound and bound != database_id:
        found = f"database {database_id[:12]}" if database_id else "one that it did not make, or an empty one"
        raise DataDirForeign(
            f"The data directory {settings.root} belongs to database {bound[:12]}; the settings lead to {found}.",
            f"Set TUNER_DATABASE_URL as it was, {_OTHER_FOLDER} If this database shall have the folder from now on, "
            f"remove {mark}.",
        )
    if database_id and not bound:
        draft = mark.with_name(f"{mark.name}.{os.getpid()}")
        draft.write_text(database_id)
        draft.replace(mark)


def _is_empty(root: Path) -> bool:
    held = {entry.name for entry in root.iterdir()} - _NOBODYS
    return not held or (held == {"run"} and not any((root / "run").iterdir()))  # somebody is claiming it just now


def _is_of_an_earlier_release(root: Path) -> bool:
    run = root / "run"
    return (root / "tunesmith.db").is_file() or ((run / "lock").is_file() and (run / "logs").is_dir())
