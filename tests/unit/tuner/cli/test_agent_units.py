"""What launchd and systemd are told is what the agent takes, and is put there and taken away in the right order."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tuner.cli.agent_units import Unit, install, launchd, systemd, uninstall
from tuner.errors import NotFound, StartFailed

ARGV = ["/home/a user/bin/python", "-m", "rpc.agent", "--key", "m1-cpu", "--advertise", '100%$"x"']


class Machine:
    """Notes what it is told to run, and whether the unit's file was there; ``broken`` fails."""

    def __init__(self, path: Path, broken: str = "") -> None:
        self.told: list[tuple[str, bool]] = []
        self._path = path
        self._broken = broken

    def __call__(self, command: Sequence[str]) -> int:
        self.told.append((command[1], self._path.exists()))
        return int(command[1] == self._broken)


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return replace(systemd("m1-cpu", ARGV, "me"), path=tmp_path / "unit")


def test_launchd_runs_it_as_the_user_and_not_in_the_background() -> None:
    found = launchd("m1-cpu", ARGV, "me", Path("/Users/me"))
    told = plistlib.loads(found.text.encode())
    assert found.path == Path("/Library/LaunchDaemons/tunesmith.agent.m1-cpu.plist")
    assert told["ProgramArguments"] == ARGV
    assert (told["UserName"], told["ProcessType"]) == ("me", "Interactive")
    assert told["KeepAlive"] is told["RunAtLoad"] is True
    assert found.stop == (("launchctl", "bootout", f"system/{told['Label']}"),)


def test_systemd_is_given_each_word_as_it_is() -> None:
    lines = systemd("m1-cpu", ARGV, "me").text.splitlines()
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    words = '"/home/a user/bin/python" "-m" "rpc.agent" "--key" "m1-cpu" "--advertise" "100%%$$\\"x\\""'
    assert start == f"ExecStart={words}"
    assert "User=me" in lines


def test_systemds_own_check_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    file = tmp_path / "tunesmith-agent-m1-cpu.service"
    file.write_text(systemd("m1-cpu", ["/bin/true", "100%$x", "a b"], "daemon").text)
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)
    assert file.name not in done.stdout + done.stderr


def test_an_agent_that_runs_is_ended_before_it_is_replaced(unit: Unit) -> None:
    machine = Machine(unit.path)
    install(unit, machine)
    assert machine.told == [("daemon-reload", True), ("enable", True)]
    assert unit.path.read_text() == unit.text
    install(unit, machine)
    assert [word for word, _ in machine.told[2:]] == ["disable", "daemon-reload", "enable"]


def test_what_can_not_be_started_is_named(unit: Unit) -> None:
    with pytest.raises(StartFailed, match="systemctl enable --now tunesmith-agent-m1-cpu"):
        install(unit, Machine(unit.path, broken="enable"))


def test_it_is_ended_while_its_file_is_there_and_then_removed(unit: Unit) -> None:
    install(unit, Machine(unit.path))
    machine = Machine(unit.path, broken="disable")  # it was ended by hand
    uninstall(unit, machine)
    assert machine.told == [("disable", True)]
    assert not unit.path.exists()
    with pytest.raises(NotFound):
        uninstall(unit, machine)
