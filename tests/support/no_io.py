"""Within ``tuner.db.engine.write`` nothing but the database may be read, written or waited for: every test holds it.

Whoever opens, looks at, moves or removes a file there, starts a process or connects to somebody keeps all other writers
waiting for as long as a disk, a network or a person's file system takes.
"""

from __future__ import annotations

import builtins
import functools
import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from tuner.db import engine as engine_module

_FORBIDDEN: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (builtins, ("open",)),
    (io, ("open",)),
    (
        os,
        (
            "open", "stat", "lstat", "access", "listdir", "scandir", "mkdir", "rmdir", "remove", "unlink", "rename",
            "replace", "link", "symlink", "truncate", "utime", "chmod", "statvfs", "fsync", "posix_spawn",
        ),
    ),
    (socket.socket, ("connect", "connect_ex", "sendall", "recv", "accept")),
    (subprocess.Popen, ("_execute_child",)),
)  # fmt: skip
# What looks at files of its own accord: to import a module, to show a line of a traceback, to name a zone of time once.
_EXEMPT = ("importlib", "linecache", "tokenize", "traceback", "warnings", "inspect", "coverage", "zoneinfo")

_state = threading.local()
_found: list[str] = []


def install() -> None:
    """Hold it from now on, in this process, for all modules, whenever they were imported."""
    original = engine_module.write

    @contextmanager
    def write(engine: Engine) -> Iterator[Session]:
        with original(engine) as session:
            _state.depth = getattr(_state, "depth", 0) + 1
            try:
                yield session
            finally:
                _state.depth -= 1

    for module in list(sys.modules.values()):
        if getattr(module, "write", None) is original:
            module.write = write  # type: ignore[attr-defined]
    for owner, names in _FORBIDDEN:
        for name in names:
            if hasattr(owner, name):
                setattr(owner, name, _forbidden(owner, name, getattr(owner, name)))


def taken() -> list[str]:
    """What was done within ``write`` since this was last asked."""
    found = list(_found)
    _found.clear()
    return found


def _forbidden(owner: Any, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if getattr(_state, "depth", 0) and not _is_exempt():
            what = f"{owner.__name__}.{name}{args[:2]!r} within write"
            _found.append(what)
            raise AssertionError(what)
        return function(*args, **kwargs)

    return call


def _is_exempt() -> bool:
    frame = sys._getframe(2)
    for _ in range(12):
        if str(frame.f_globals.get("__name__", "")).startswith(_EXEMPT):
            return True
        if frame.f_back is None:
            break
        frame = frame.f_back
    return False
