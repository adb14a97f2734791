"""What the agent refuses, and what a Mac says of itself."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from multiprocessing import get_context

import pytest

from rpc import server
from rpc.apple import cpu_key, is_known, parse_gpu
from rpc.errors import UnsafeAddress
from rpc.loopback import check_loopback, is_loopback
from rpc.registration import Registration
from tests.support.processes import ROOT, free_port, patience, running_module


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.1.5", False),
        ("tracker.example", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_told_from_everywhere_else(host: str, here: bool) -> None:
    assert is_loopback(host) == here


@pytest.mark.parametrize(
    ("tracker", "listen", "named"),
    [("lab.example", "127.0.0.1", "tracker at lab.example"), ("127.0.0.1", "0.0.0.0", "Listening on 0.0.0.0")],
)
def test_leaving_this_machine_is_refused_with_the_safe_way(tracker: str, listen: str, named: str) -> None:
    with pytest.raises(UnsafeAddress, match=named) as caught:
        check_loopback(tracker, listen)
    assert "docs/mac.md" in caught.value.hint
    assert "--allow-remote-tracker" in caught.value.hint


def agent(*options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "rpc.agent", "--key", "m1-cpu", *options]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=patience(60), check=False)


def test_a_tracker_elsewhere_needs_the_flag() -> None:
    done = agent("--tracker", "192.0.2.1:9190")
    assert done.returncode == 1
    assert done.stderr.startswith("error: The tracker at 192.0.2.1 is not on this machine")
    assert "\nhint: " in done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ("rpc.agent", "--key", "m1-cpu", "--tracker", "127.0.0.1:1"),  # nobody's: it says so again and again
        ("rpc.tracker_process", "--port", "0"),
    ],
)
def test_level_of_the_log_is_the_one_that_was_given(argv: tuple[str, ...]) -> None:
    with running_module(*argv, "--log-level", "DEBUG") as process:
        assert process.stdout is not None
        assert any(" DEBUG " in line for line in process.stdout)


def test_a_key_that_would_break_the_tracker_is_refused() -> None:
    done = agent("--tracker", f"127.0.0.1:{free_port()}", "--key", "m1:cpu")
    assert done.returncode == 2
    assert "must not be empty or hold a colon" in done.stderr


@pytest.mark.parametrize(
    "options", [["--tracker", "127.0.0.1:70000"], ["--tracker", "127.0.0.1:9190", "--port", "70000"], ["--port", "-1"]]
)
def test_a_port_that_can_not_be_is_refused(options: list[str]) -> None:
    done = agent(*options)
    assert done.returncode == 2
    assert f"'{options[-1].rpartition(':')[2]}' is no port" in done.stderr


@pytest.mark.parametrize(
    ("chip", "key"),
    [
        ("Apple M1", "m1-cpu"),
        ("Apple M1 Pro", "m1-pro-cpu"),
        ("Apple M2 Ultra", "m2-ultra-cpu"),
        ("Apple M4", "m4-cpu"),
        ("Apple M5 Max", "m5-max-cpu"),
        ("Apple M4 Ultra", "m4-max-cpu"),  # no such chip here: the nearest kind
        ("Apple M12", "m5-cpu"),  # newer than all that are known here
        ("Apple M12 Pro", "m5-pro-cpu"),
        ("Apple M1 Prodigy", "m1-cpu"),
        ("Apple", None),
        ("Apple M0", None),
        ("Apple A18 Pro", None),
        ("Intel(R) Core(TM) i7", None),
    ],
)
def test_an_apple_chip_offers_its_cpu_by_name(chip: str, key: str | None) -> None:
    assert cpu_key(chip) == key


@pytest.mark.parametrize(
    ("brand", "is_one"), [("Apple M3 Ultra", True), ("Apple M4 Ultra", False), ("Apple M6", False), ("Intel", False)]
)
def test_a_chip_newer_than_the_release_is_told_from_those_it_knows(brand: str, is_one: bool) -> None:
    assert is_known(brand) is is_one


@pytest.mark.parametrize(
    ("gpu", "facts"),
    [
        (
            {"_name": "Apple M1", "sppci_cores": "8", "spdisplays_mtlgpufamilysupport": "spdisplays_metal3"},
            {"gpu": "Apple M1", "gpu_cores": 8, "metal": "metal3"},
        ),
        (
            {"sppci_model": "Apple M1", "spdisplays_mtlgpufamilysupport": "spdisplays_mtlgpufamilyapple7"},
            {"gpu": "Apple M1", "metal": "apple7"},
        ),
        ({"_name": "Some GPU", "sppci_cores": "many"}, {"gpu": "Some GPU"}),
    ],
)
def test_the_gpu_and_its_metal_family_are_read(gpu: dict[str, str], facts: dict[str, object]) -> None:
    assert parse_gpu(json.dumps({"SPDisplaysDataType": [gpu]})) == facts


@pytest.mark.parametrize("report", ["", "no JSON", "{}", '{"SPDisplaysDataType": []}', "[]"])
def test_a_gpu_nobody_knows_has_no_facts(report: str) -> None:
    assert parse_gpu(report) == {}


class FlakyTracker(Registration):
    """A registration at a tracker that answers as told."""

    def __init__(self, answers: list[bool]) -> None:
        super().__init__(("127.0.0.1", 9190), "m1-cpu", 9091, {})
        self.answers = answers

    def offer(self) -> None:
        if not self.answers.pop(0):
            raise ConnectionRefusedError(111, "Connection refused")


def test_a_device_says_once_that_its_tracker_is_not_there_and_once_that_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "_RETRY_SEC", 0.0)
    with socket.socket() as listener, caplog.at_level("INFO"):
        device = server.DeviceServer(listener, FlakyTracker([False, False, True, True]), "m1-cpu", 60.0)
        for _ in range(4):
            device._register()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "the tracker at 127.0.0.1:9190 does not know this device: [Errno 111] Connection refused; trying again"
            " until it does",
        ),
        ("INFO", "the tracker at 127.0.0.1:9190 knows this device"),
    ]


def test_a_group_of_zombies_ends_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def killpg(pid: int, number: int) -> None:  # as macOS has it
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "killpg", killpg)
    process = get_context("spawn").Process(target=time.sleep, args=(60,))
    process.start()
    server._kill_group(process)
    process.join(patience(10))
    assert process.exitcode == -signal.SIGKILL
