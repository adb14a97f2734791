"""One service per data directory, and where others find it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from tuner.config import Settings
from tuner.errors import Conflict, StorageFull
from tuner.ownership import claim

_LOOK_SEC, _LOOKS_MOST_SEC = 0.02, 10.0


@contextlib.contextmanager
def hold_data_dir(settings: Settings) -> Iterator[None]:
    """Make the data directory and hold its lock; the kernel frees it when this process ends, however it ends.

    Raises:
        Conflict: another service holds it (the message names its pid) or the folder can't be written.
        DataDirForeign: the folder holds something else.
        StorageFull: not even that pid finds room.
    """
    run_dir = settings.run_file.parent
    with _refusals(settings):
        claim(settings)
        descriptor = os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as lock_file:
        try:
            _lock(lock_file.fileno())
        except BlockingIOError:
            pid = lock_file.read().decode().strip() or "unknown"
            raise Conflict(
                f"Another service (pid {pid}) already uses {settings.root}.",
                f"Stop it (kill {pid}) or start with another --data-dir.",
            ) from None
        with _refusals(settings):
            lock_file.truncate(lock_file.write(str(os.getpid()).encode()))
            settings.run_file.unlink(missing_ok=True)  # of one that was killed
        yield


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError when a service holds it; a look (``running_service``) shares it, and is waited for."""
    deadline = time.monotonic() + _LOOKS_MOST_SEC
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # what no service lets anybody have
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(_LOOK_SEC)


@contextlib.contextmanager
def _refusals(settings: Settings) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StorageFull(f"No space is left for {settings.root}.", "Free some space there.") from error
        reason = f"The data directory {settings.root} can't be used: {error.strerror}."
        raise Conflict(reason, "Choose another one with --data-dir.") from error


def write_run_file(settings: Settings, state: dict[str, Any]) -> None:
    """Tell others on this machine where the service is; written whole, so that nobody reads half of it."""
    part = settings.run_file.with_suffix(".part")
    part.write_text(json.dumps(state, indent=2))
    part.replace(settings.run_file)


def running_service(settings: Settings) -> dict[str, Any] | None:
    """What the run file says while a service holds the data directory; None when none does."""
    try:
        with (settings.run_file.parent / "lock").open() as lock_file:
            try:
                fcntl.flock(lock_file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                return dict(json.loads(settings.run_file.read_text()))
    except (OSError, ValueError):
        return None
