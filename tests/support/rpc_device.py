"""A real tracker and a real device for tests, and kernels that misbehave on it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rpc import tracker
from tests.support.processes import patience, running_module, wait_until

HOST = "127.0.0.1"


@contextmanager
def tracker_process(port: int) -> Iterator[subprocess.Popen[str]]:
    """A tracker that answers."""
    with running_module("rpc.tracker_process", "--port", str(port)) as process:
        wait_until(lambda: summary(port), 20, "the tracker's answer")
        yield process


@contextmanager
def agent_process(port: int, *options: str, key: str = "local", **env: str) -> Iterator[subprocess.Popen[str]]:
    """A device that is free."""
    with running_module("rpc.agent", "--tracker", f"{HOST}:{port}", "--key", key, *options, **env) as process:
        wait_until(lambda: free(port, key), 20, "the device's registration")
        yield process


def summary(port: int) -> tracker.Summary | None:
    """The tracker's summary, None when nobody answers."""
    try:
        return tracker.summary(HOST, port, patience(2))
    except OSError:
        return None


def free(port: int, key: str = "local") -> int:
    """Devices of the key that wait for a session."""
    return tracker.count_free(summary(port) or {}, key)


def build_library(path: Path, call: str, *arguments: int) -> Path:
    """A shared library whose function ``main(tensor of 16 float32)`` calls one C function with these integers."""
    import tvm
    from tvm.script import tirx as T

    @T.prim_func
    def main(values: T.Buffer((16,), "float32")) -> None:  # type: ignore[valid-type]
        T.func_attr({"global_symbol": "main"})
        T.evaluate(T.call_extern("int32", call, *arguments))

    tvm.compile(main, target="llvm").export_library(str(path))
    return path
