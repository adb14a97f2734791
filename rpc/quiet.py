"""A lock that keeps what computes by a person's command away from what is measured on the same machine.

Whoever measures shares it with others that do; whoever builds has it alone. It is advisory and the kernel frees it
when its holder ends, however it ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rpc.errors import DeviceUnavailable

log = logging.getLogger(__name__)

_POLL_SEC = 0.1
_PATIENCE_SEC = 1.0  # before a person is told what is waited for


def default_lock() -> Path:
    """The lock of this user's on this machine; always the same one, whatever TMPDIR says."""
    return Path("/tmp") / f"tunesmith-{os.getuid()}.measuring"


@contextmanager
def measuring(lock: Path | None, timeout_sec: float) -> Iterator[None]:
    """Measure without a build of a person's beside it; one that takes longer than ``timeout_sec`` is measured beside.

    None: what is measured is on another machine.
    """
    with _opened(lock) as descriptor:
        if descriptor is not None and not _acquire(descriptor, fcntl.LOCK_SH, timeout_sec):
            log.warning("measuring beside a build that has held %s for %g s", lock, timeout_sec)
        yield


@contextmanager
def building(lock: Path, timeout_sec: float, say: Callable[[str], None]) -> Iterator[None]:
    """Build without a measurement beside it.

    Raises:
        DeviceUnavailable: this machine measured for all of ``timeout_sec``.
    """
    with _opened(lock) as descriptor:
        if descriptor is not None and not _acquire(descriptor, fcntl.LOCK_EX, _PATIENCE_SEC):
            say(f"waiting for a measurement on this machine to end, at most {timeout_sec:g} s")
            if not _acquire(descriptor, fcntl.LOCK_EX, timeout_sec):
                raise DeviceUnavailable(
                    f"This machine has measured for {timeout_sec:g} s, and a build would disturb that.",
                    "Pause its jobs (`tunesmith pause JOB`) or stop its service, then try again.",
                )
        yield


def is_measuring(lock: Path) -> bool:
    """Does somebody measure, or build, now?"""
    with _opened(lock) as descriptor:
        return descriptor is not None and not _acquire(descriptor, fcntl.LOCK_EX, 0.0)


def is_building(lock: Path) -> bool:
    """Does somebody build now?"""
    with _opened(lock) as descriptor:
        return descriptor is not None and not _acquire(descriptor, fcntl.LOCK_SH, 0.0)


@contextmanager
def _opened(lock: Path | None) -> Iterator[int | None]:
    """A descriptor of the lock's file; None where there is none, or another user's: then nobody is kept away."""
    with ExitStack() as files:
        descriptor = None
        if lock is not None:
            try:
                descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                files.callback(os.close, descriptor)
            except OSError as error:
                log.debug("no lock at %s: %s", lock, error)
        is_ours = descriptor is not None and os.fstat(descriptor).st_uid == os.getuid()
        yield descriptor if is_ours else None


def _acquire(descriptor: int, kind: int, timeout_sec: float) -> bool:
    deadline = time.monotonic() + timeout_sec
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SEC)
