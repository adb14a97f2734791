"""Proof that nobody touches a file or the network while holding the database's write lock."""

from __future__ import annotations

import builtins
import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

_FORBIDDEN = (
    (builtins, "open"),
    (io, "open"),
    (os, "open"),
    (os, "stat"),
    (os, "lstat"),
    (os, "listdir"),
    (os, "scandir"),
    (os, "replace"),
    (os, "rename"),
    (os, "unlink"),
    (os, "mkdir"),
    (socket.socket, "connect"),
)


@contextmanager
def no_io_in_write(engine: Engine) -> Iterator[None]:
    """Within the block, ``write`` on this engine fails with an AssertionError at the first look at a file."""
    here = threading.local()

    def begin(connection: Connection) -> None:
        here.writing = connection.get_execution_options().get("immediate", False)

    def end(_connection: Connection) -> None:
        here.writing = False

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if getattr(here, "writing", False):
                raise AssertionError(f"{function.__name__}{args} while the write lock is held")
            return function(*args, **kwargs)

        return call

    listeners = (("begin", begin), ("commit", end), ("rollback", end))
    with pytest.MonkeyPatch.context() as patch:
        for name, listener in listeners:
            event.listen(engine, name, listener)
        for owner, name in _FORBIDDEN:
            patch.setattr(owner, name, guarded(getattr(owner, name)))
        try:
            yield
        finally:
            for name, listener in listeners:
                event.remove(engine, name, listener)
