"""A device is well when it gives a session, or answers while others have one; that it is registered says little."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from rpc import device_probe, registration
from rpc.device_probe import DeviceProbe
from rpc.lease import lease
from rpc.registration import Registration
from tests.support.processes import free_port, kill_hard, patience, stop_hard, wait_until
from tests.support.rpc_device import HOST, agent_process, free, tracker_process


@pytest.fixture
def port() -> Iterator[int]:
    number = free_port()
    with tracker_process(number):
        yield number


@pytest.fixture
def device(port: int) -> Iterator[subprocess.Popen[str]]:
    with agent_process(port) as process:
        yield process


@pytest.fixture
def probe(port: int) -> DeviceProbe:
    return DeviceProbe(HOST, port, "local")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which everybody answers, however late."""
    for module in (device_probe, registration):
        monkeypatch.setattr(module, "_TIMEOUT_SEC", patience(2))


@pytest.mark.usefixtures("patient", "device")
def test_free_device_gives_a_session_and_is_free_again(port: int, probe: DeviceProbe) -> None:
    for _ in range(2):  # the second time it is enough that it answers
        assert probe.is_well() is True
        wait_until(lambda: free(port) == 1, 5, "the device's offer")


@pytest.mark.usefixtures("patient", "device")
def test_busy_device_is_well_and_its_session_goes_on(port: int, probe: DeviceProbe) -> None:
    with lease(HOST, port, "local", patience(10), patience(20)) as session:
        for _ in range(3):
            assert probe.is_well() is True
        assert session.cpu(0).exist


@pytest.mark.parametrize("is_busy", [False, True])
def test_device_that_stands_still_is_not_well_though_it_is_registered(
    port: int, probe: DeviceProbe, device: subprocess.Popen[str], is_busy: bool
) -> None:
    if is_busy:
        with lease(HOST, port, "local", patience(10), patience(20)):
            stop_hard(device.pid)
            assert probe.is_well() is False
            os.kill(device.pid, signal.SIGCONT)
            wait_until(probe.is_well, 10, "the device's answer")
    else:
        stop_hard(device.pid)
        assert probe.is_well() is False
    wait_until(probe.is_registered, 5, "the tracker's answer")


@pytest.mark.usefixtures("patient")
def test_device_that_offers_a_session_and_gives_none_is_not_well(port: int, probe: DeviceProbe) -> None:
    offer = Registration((HOST, port), "local", free_port(), {}, HOST)
    offer.offer()
    assert free(port) == 1
    assert probe.is_registered() is True
    second = Registration((HOST, port), "local", free_port(), {}, HOST)
    second.offer()  # or there would be none after the first was tried
    assert probe.is_well() is False
    offer.drop()
    second.drop()


@pytest.mark.usefixtures("patient")
def test_nobody_can_say_how_a_device_is_while_the_tracker_is_away(probe: DeviceProbe, port: int) -> None:
    assert probe.is_well() is False, "it is not registered"
    gone = DeviceProbe(HOST, free_port(), "local")
    assert gone.is_well() is None
    assert gone.is_registered() is None


def test_killed_device_is_not_well(port: int, probe: DeviceProbe, device: subprocess.Popen[str]) -> None:
    kill_hard(device.pid)
    wait_until(lambda: probe.is_well() is False, 5, "the device's end")
