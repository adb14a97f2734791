"""What a person builds and what is measured on the same machine keep out of each other's way."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from rpc import quiet
from rpc.errors import DeviceUnavailable
from rpc.quiet import building, is_building, measuring
from tests.support.processes import kill_hard, python_code, running

HOLD = """
import sys, time
from pathlib import Path
from rpc.quiet import building, measuring
with building(Path(sys.argv[2]), 1, print) if sys.argv[1] == "building" else measuring(Path(sys.argv[2]), 1):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(quiet, "_PATIENCE_SEC", 0.0)
    return tmp_path / "lock"


def test_a_build_waits_for_a_measurement_and_says_so(lock: Path) -> None:
    said: list[str] = []
    measured = threading.Event()

    def say(what: str) -> None:
        said.append(what)
        measured.set()

    def measure() -> None:
        with measuring(lock, 1):
            began.set()
            assert measured.wait(60)

    began = threading.Event()
    thread = threading.Thread(target=measure)
    thread.start()
    assert began.wait(60)
    with building(lock, 60, say):
        thread.join()
    assert said == ["waiting for a measurement on this machine to end, at most 60 s"]


def test_a_build_does_not_wait_for_ever(lock: Path) -> None:
    with measuring(lock, 1), pytest.raises(DeviceUnavailable, match=r"measured for 0\.2 s") as caught:  # noqa: SIM117
        with building(lock, 0.2, lambda _: None):
            pytest.fail("built beside a measurement")
    assert "tunesmith pause" in caught.value.hint


def test_measurements_share_the_machine_as_the_service_allows(lock: Path) -> None:
    with measuring(lock, 0), measuring(lock, 0):
        assert not is_building(lock)


def test_a_measurement_waits_for_a_build_but_not_for_ever(lock: Path, caplog: pytest.LogCaptureFixture) -> None:
    with building(lock, 1, print):
        assert is_building(lock)
        began = time.monotonic()
        with measuring(lock, 0.2):
            assert time.monotonic() - began >= 0.2
    assert "beside a build" in caplog.text
    assert not is_building(lock)


@pytest.mark.parametrize("how", ["building", "measuring"])
def test_whoever_is_killed_holds_nothing(lock: Path, how: str) -> None:
    with running(python_code(HOLD, how, str(lock))) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DeviceUnavailable), building(lock, 0.0, lambda _: None):
            pytest.fail("two hold it")
        kill_hard(other.pid)
        other.wait()
    with building(lock, 1, print):
        pass


def test_where_there_is_no_lock_nobody_waits(tmp_path: Path) -> None:
    for lock in (tmp_path / "missing" / "lock", tmp_path):
        with building(lock, 0, print), measuring(lock, 0), building(lock, 0, print):
            assert not is_building(lock)
    with measuring(None, 0):
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's file")
def test_another_users_file_keeps_nobody_away(lock: Path) -> None:
    lock.touch()
    os.chown(lock, 12345, 12345)
    with building(lock, 0, print), building(lock, 0, print):
        pass


def test_each_user_has_one_whatever_the_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    before = quiet.default_lock()
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert quiet.default_lock() == before
    assert str(os.getuid()) in before.name
