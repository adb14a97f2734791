"""What `serve` needs of the machine: ports and a data directory of its own."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.processes import kill_hard, python_code, running
from tuner.cli import datadir, serve
from tuner.cli.datadir import hold_data_dir, running_service, write_run_file
from tuner.cli.ports import choose_port, is_free, lasting_port
from tuner.cli.service import db_upgrade
from tuner.config import Settings
from tuner.errors import Conflict, InvalidInput, PortTaken, StorageFull
from tuner.ownership import claim

HOST = "127.0.0.1"


@pytest.fixture
def claims() -> Iterator[ExitStack]:
    """Of one service that starts."""
    with ExitStack() as stack:
        yield stack


def test_port_the_user_named_is_used_or_refused_by_name(claims: ExitStack) -> None:
    with socket.create_server((HOST, 0)) as holder:
        taken = holder.getsockname()[1]
        with pytest.raises(PortTaken, match=str(taken)) as caught:
            choose_port(HOST, taken, 8000, "--port", claims)
        assert "--port" in caught.value.hint
    assert choose_port(HOST, taken, 8000, "--port", claims) == taken


def test_default_port_makes_way_for_the_next_free_one(claims: ExitStack) -> None:
    with socket.create_server((HOST, 0)) as holder:
        taken = holder.getsockname()[1]
        chosen = choose_port(HOST, None, taken, "--port", claims)
        assert chosen > taken
        assert is_free(HOST, chosen)


def test_of_services_that_start_at_once_each_gets_a_default_port_of_its_own() -> None:
    settings = Settings()
    with ExitStack() as first, ExitStack() as second:
        mine, theirs = (serve.with_addresses(settings, claims) for claims in (first, second))
        assert mine.tracker_port != theirs.tracker_port
        assert mine.port != theirs.port


@pytest.mark.parametrize("wanted", [None, 0, 8123])
@pytest.mark.parametrize("host", ["no such host", "192.0.2.1"])
def test_address_that_is_not_ours_is_not_called_a_port_in_use(host: str, wanted: int | None, claims: ExitStack) -> None:
    with pytest.raises(InvalidInput, match=rf"can't listen on {host}:\d+: [^(]+\.$") as caught:
        choose_port(host, wanted, 8000, "--port", claims)
    assert "address of this machine" in caught.value.hint


def test_port_zero_is_any_free_one_decided_before_anything_starts(claims: ExitStack, tmp_path: Path) -> None:
    decided = serve.with_addresses(Settings(data_dir=tmp_path, port=0, tracker_port=0), claims)
    assert decided.port
    assert decided.tracker_port
    assert is_free(HOST, decided.port)
    web = serve.service_processes(decided, own_engine=True)[-2]
    assert (web.name, web.env["TUNER_PORT"]) == ("web", str(decided.port))


def test_the_engines_port_is_none_that_an_outgoing_connection_can_take() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = {lasting_port(HOST) for _ in range(20)}
    assert len(ports) > 1
    assert not any(first <= port <= last for port in ports)
    assert all(is_free(HOST, port) for port in ports)


def test_every_setting_reaches_the_children(claims: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decided = serve.with_addresses(Settings(data_dir=tmp_path, port=lasting_port(HOST), device_threads=1), claims)
    for name, value in decided.as_env().items():
        monkeypatch.setenv(name, value)
    assert Settings() == decided


def test_processes_without_settings_are_told_the_log_level(claims: ExitStack, tmp_path: Path) -> None:
    decided = serve.with_addresses(Settings(data_dir=tmp_path, log_level="ERROR"), claims)
    told = {}
    for spec in serve.service_processes(decided, own_engine=True):
        if "--log-level" in spec.argv:
            told[spec.name] = spec.argv[spec.argv.index("--log-level") + 1]
    assert told == {"tracker": "ERROR", "device": "ERROR"}


def test_service_with_an_engine_elsewhere_starts_none(claims: ExitStack, tmp_path: Path) -> None:
    decided = serve.with_addresses(Settings(data_dir=tmp_path, engine="tcp://10.0.0.1:8786"), claims)
    assert decided.engine == "tcp://10.0.0.1:8786"
    names = [spec.name for spec in serve.service_processes(decided, own_engine=False)]
    assert names == ["tracker", "device", "web", "coordinator"]


def test_second_service_on_a_data_directory_is_told_the_first_ones_pid(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with hold_data_dir(settings), pytest.raises(Conflict, match=rf"pid {os.getpid()}\)"), hold_data_dir(settings):
        pytest.fail("two services hold one directory")
    with hold_data_dir(settings):
        pass


def test_the_database_is_not_upgraded_under_a_service_that_runs(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with hold_data_dir(settings), pytest.raises(Conflict, match=f"pid {os.getpid()}"):
        db_upgrade(tmp_path)
    assert not (tmp_path / "tunesmith.db").exists()
    db_upgrade(tmp_path)
    assert (tmp_path / "tunesmith.db").exists()


def test_a_look_at_who_runs_keeps_no_service_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path)
    claim(settings)
    lock = settings.run_file.parent / "lock"
    lock.touch()
    with lock.open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        waits = iter(range(20))

        def sleep(_seconds: float) -> None:
            if next(waits, None) is None:
                fcntl.flock(look, fcntl.LOCK_UN)

        monkeypatch.setattr(datadir, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=sleep))
        with hold_data_dir(settings):
            pass


def test_a_look_that_never_ends_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path)
    claim(settings)
    monkeypatch.setattr(datadir, "_LOOKS_MOST_SEC", 0.0)
    with (settings.run_file.parent / "lock").open("w") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        with pytest.raises(Conflict, match="Another service"), hold_data_dir(settings):
            pytest.fail("held with another")


def test_full_disk_is_said_before_anything_starts(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    claim(settings)
    (settings.run_file.parent / "lock").symlink_to("/dev/full")  # takes opens and refuses writes with ENOSPC
    with pytest.raises(StorageFull, match="No space is left"), hold_data_dir(settings):
        pytest.fail("went on without its lock")


def test_killed_service_frees_its_data_directory(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    code = """
import sys, time
from tuner.cli.datadir import hold_data_dir
from tuner.config import Settings
with hold_data_dir(Settings()):
    print("held", flush=True)
    time.sleep(60)
"""
    with running(python_code(code), TUNER_DATA_DIR=str(tmp_path)) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(Conflict), hold_data_dir(settings):
            pytest.fail("two services hold one directory")
        kill_hard(other.pid)
        other.wait()
        with hold_data_dir(settings):
            pass


def test_run_file_counts_only_while_the_service_lives(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert running_service(settings) is None
    with hold_data_dir(settings):
        write_run_file(settings, {"url": "http://127.0.0.1:1"})
        assert running_service(settings) == {"url": "http://127.0.0.1:1"}
    assert json.loads(settings.run_file.read_text())
    assert running_service(settings) is None
    with hold_data_dir(settings):
        assert running_service(settings) is None, "the next one has not said yet where it is"


def test_data_directory_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Conflict, match="can't be used") as caught, hold_data_dir(Settings(data_dir=tmp_path / "file")):
        pytest.fail("held a file")
    assert "--data-dir" in caught.value.hint
