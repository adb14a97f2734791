"""A tracker with this machine as a device: our own, or TVM's stock server as its documentation starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rpc import tracker
from rpc.facts import THREADS_ENV, device_facts
from rpc.lifeline import child_env, python_module
from tuner.cli.ports import lasting_port
from tuner.errors import StartFailed
from tuner.targets import presets

HOST = "127.0.0.1"
KEY = "bench"
_START_SEC = 60.0


def own_target(threads: int) -> dict[str, Any]:
    """The TVM target of this machine, as JSON, for kernels on so many threads."""
    return presets.localised(presets.known(KEY)[0], {**device_facts(), "threads": threads}).tvm


@contextmanager
def own_device(folder: Path, threads: int) -> Iterator[int]:
    """Our tracker and our agent; yields the tracker's port."""
    with _tracker(folder) as port:
        agent = python_module("rpc.agent", "--tracker", f"{HOST}:{port}", "--key", KEY, "--threads", str(threads))
        with _process("agent", agent, folder, {}), _registered(port):
            yield port


@contextmanager
def stock_device(folder: Path, threads: int | None) -> Iterator[int]:
    """A tracker and ``tvm.exec.rpc_server``; yields the tracker's port. ``threads`` None: TVM decides."""
    with _tracker(folder) as port:
        server = python_module("tvm.exec.rpc_server", "--tracker", f"{HOST}:{port}", "--key", KEY, "--host", HOST)
        env = {THREADS_ENV: str(threads)} if threads else {}
        with _process("server", server, folder, env), _registered(port):
            yield port


@contextmanager
def _tracker(folder: Path) -> Iterator[int]:
    port = lasting_port(HOST)
    with _process("tracker", python_module("rpc.tracker_process", "--port", str(port)), folder, {}):
        yield port


@contextmanager
def _process(name: str, argv: list[str], folder: Path, env: dict[str, str]) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    inherited = {key: value for key, value in child_env().items() if key != THREADS_ENV}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(argv, env={**inherited, **env}, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the stock server serves in a child of its own
            process.wait()


@contextmanager
def _registered(port: int) -> Iterator[None]:
    """Go on once the device is at the tracker. Raises StartFailed when it does not come."""
    deadline = time.monotonic() + _START_SEC
    while not _free(port):
        if time.monotonic() > deadline:
            raise StartFailed(f"No device came to the tracker within {_START_SEC:g} s.", "See the logs beside it.")
        time.sleep(0.1)
    yield


def _free(port: int) -> int:
    try:
        return tracker.count_free(tracker.summary(HOST, port), KEY)
    except OSError:
        return 0
