"""``tunesmith agent`` as a remote machine runs it: through a tunnel's ports, with little installed."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rpc import tracker
from rpc.lease import lease
from tests.support.processes import ROOT, free_port, patience, python_code, running, wait_until
from tests.support.rpc_device import HOST, free, summary, tracker_process

KEY = "m1-cpu"
# What the extra `agent` names is there, and nothing else of what the service needs.
ABSENT = (
    "torch transformers xgboost sqlalchemy sqlmodel alembic fastapi starlette uvicorn distributed dask "
    "jinja2 safetensors huggingface_hub tornado cloudpickle"
)
NOT_YET = {"server_info": [{"key": KEY}]}
COMMAND = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT.split()!r}))
from tuner.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    number = free_port()
    with tracker_process(number):
        yield number


@contextmanager
def joined(port: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command, when its device is free."""
    argv = python_code(COMMAND, "agent", "--tracker", f"{HOST}:{port}", "--key", KEY, *options)
    with running(argv) as process:
        wait_until(lambda: free(port, KEY), 30, "the device's registration")
        yield process
    wait_until(lambda: tracker.count_registered(summary(port) or NOT_YET, KEY) == 0, 5, "the device's end")


def entry(port: int) -> dict[str, object]:
    """What the tracker knows of the device."""
    (found,) = tracker.registered(summary(port) or {})[KEY]
    return found


def test_a_light_installation_serves_sessions_on_the_port_of_a_tunnel(port: int) -> None:
    own = free_port()
    with joined(port, "--port", str(own), "--threads", "1"):
        assert entry(port)["addr"] == [HOST, own]
        facts = entry(port)["facts"]
        assert isinstance(facts, dict)
        assert facts["threads"] == 1
        assert {"cpu", "cores", "memory_bytes", "os", "tvm"} <= set(facts)
        with lease(HOST, port, KEY, patience(10), patience(10)) as session:
            assert session.get_function("tunesmith.device_facts")()


def test_a_device_behind_another_address_is_offered_under_that(port: int) -> None:
    with joined(port, "--advertise", "localhost"):
        address = entry(port)["addr"]
        assert isinstance(address, list)
        assert address[0] == "localhost"
        with lease(HOST, port, KEY, patience(10), patience(10)) as session:
            assert session.get_function("tunesmith.device_facts")()


def test_a_port_that_is_taken_is_named(port: int) -> None:
    with socket.create_server((HOST, 0)) as holder:
        own = str(holder.getsockname()[1])
        argv = python_code(COMMAND, "agent", "--tracker", f"{HOST}:{port}", "--key", KEY, "--port", own)
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=patience(60), check=False)
    assert done.returncode == 1
    assert f"error: The device can't listen on {HOST}:{own}" in done.stderr


def test_a_tracker_elsewhere_is_refused_by_the_command(port: int) -> None:
    argv = [sys.executable, "-m", "tuner.cli.main", "agent", "--tracker", "192.0.2.1:9190", "--key", KEY]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=patience(60), check=False)
    assert done.returncode == 1
    assert "--allow-remote-tracker" in done.stderr
