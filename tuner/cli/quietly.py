"""Computing on this machine at a moment at which nothing is measured there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rpc.errors
from rpc.quiet import building
from tuner.config import Settings
from tuner.errors import DeviceUnavailable

_MEASURING_SEC = 600.0


@contextmanager
def quiet(settings: Settings, say: Callable[[str], None]) -> Iterator[None]:
    """Wait until this machine does not measure, and have nothing measured until the end.

    Raises DeviceUnavailable when it measures for ten minutes on end.
    """
    try:
        with building(settings.quiet_lock, _MEASURING_SEC, say):
            yield
    except rpc.errors.DeviceUnavailable as error:
        raise DeviceUnavailable(error.message, error.hint) from error
