"""What is dear is made once in a test run, by whichever of its processes wants it first."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

FOLDER_ENV = "TESTS_RUN_FOLDER"  # all processes of a run share it, and pytest removes it


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name in the run's own; ``make`` fills it unless that was done, and others wait meanwhile."""
    root = Path(os.environ[FOLDER_ENV])
    made, draft = root / name, root / f"{name}.part"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # nobody holds it who has ended
        if not made.exists():
            draft.mkdir(exist_ok=True)
            make(draft)
            draft.rename(made)
    return made
