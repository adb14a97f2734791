"""`tunesmith serve` as a user meets it: one command, real processes, killed in every way."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.processes import (
    ROOT,
    family,
    is_running,
    kill_hard,
    patience,
    wait_until,
)
from tests.support.service import COMMAND, Service, serving

SECRET = "hf_secret"


def refused(data_dir: Path, *options: str) -> str:
    """What a service that must not start says."""
    argv = [*COMMAND, "serve", "--data-dir", str(data_dir), *options]
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=patience(30), check=False)
    assert result.returncode == 1, result.stdout + result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as environment, contextlib.ExitStack() as services:
        environment.setenv("HF_TOKEN", SECRET)
        started = services.enter_context(serving(tmp_path_factory.mktemp("service"), "--port", "0"))
        environment.undo()
        yield started


def test_banner_names_the_dashboard_and_the_data_directory(service: Service) -> None:
    url = re.search(r"Dashboard +(http://\S+)/\?token=(\S+)", service.output)
    assert url is not None
    with httpx.Client(timeout=patience(10), follow_redirects=True) as browser:
        page = browser.get(url[0].split()[-1])
    assert page.is_success
    assert str(page.url) == f"{url[1]}/"
    assert not url[1].endswith(":0")
    assert str(service.data_dir) in service.output
    assert service.state()["url"] == url[1]
    assert url[2] == (service.data_dir / "token").read_text().strip()


def test_the_token_is_in_no_log_and_in_no_other_file(service: Service) -> None:
    token = (service.data_dir / "token").read_text().strip()
    stranger = {"Authorization": f"Bearer {token}x"}
    httpx.get(f"{service.url}/?token={token}", timeout=patience(10))
    httpx.get(f"{service.url}/v1/jobs?token={token}", headers=stranger, timeout=patience(10))
    service.ask("GET", "/v1/jobs/none")
    service.ask("POST", "/v1/records/import", content=b"no record")
    found = [path for path in service.data_dir.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert found == [service.data_dir / "token"]


def test_commands_of_the_same_user_find_the_token_by_themselves(service: Service) -> None:
    environment = {**os.environ, "TUNER_DATA_DIR": str(service.data_dir)}

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env={**environment, **changes},
            capture_output=True,
            text=True,
            timeout=patience(60),
            check=False,
        )

    assert run("jobs").returncode == 0
    token = run("token", "new", "ci", "--scope", "read").stdout.strip()
    assert "ci" in run("token", "list").stdout
    elsewhere = {"TUNER_DATA_DIR": "/nonexistent", "TUNER_URL": service.url}
    assert "error: GET /v1/jobs needs a token, and it shows none." in run("jobs", **elsewhere).stderr
    assert run("jobs", **elsewhere, TUNER_TOKEN=token).returncode == 0
    assert "`submit`" in run("tune", "minilm-l6", **elsewhere, TUNER_TOKEN=token).stderr
    assert run("token", "revoke", "ci").returncode == 0
    assert "is not known here" in run("jobs", **elsewhere, TUNER_TOKEN=token).stderr


def test_all_parts_run_and_this_machine_is_a_free_device(service: Service) -> None:
    wait_until(service.is_well, 30, "the service's health")
    names = ("tracker", "device", "engine", "web", "coordinator")
    assert all(is_running(service.pid(name)) for name in names)


def test_only_what_loads_models_is_told_a_secret(service: Service) -> None:
    def is_told(name: str) -> bool:
        return SECRET in Path(f"/proc/{service.pid(name)}/environ").read_text()

    assert is_told("engine")
    assert not any(is_told(name) for name in ("tracker", "device"))


def test_doctor_checks_the_running_service(service: Service) -> None:
    wait_until(lambda: is_ready(service), 40, "readiness")
    argv = [*COMMAND, "doctor", "--data-dir", str(service.data_dir)]
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=patience(90), check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"answers at {service.state()['url']}" in " ".join(result.stdout.split())
    assert "add kernel" in result.stdout
    assert "1 of 1 workers" in result.stdout
    assert "last finished a pass" in result.stdout


def test_port_that_is_taken_is_refused_by_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        message = refused(tmp_path, "--port", port)
    assert port in message
    assert "--port" in message


def test_a_door_that_is_open_to_all_is_for_this_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_AUTH", "none")
    message = refused(tmp_path, "--host", "0.0.0.0")
    assert "TUNER_AUTH=none lets everybody in" in message
    assert list(tmp_path.iterdir()) == []


def test_second_service_on_the_data_directory_is_refused(service: Service) -> None:
    assert f"pid {service.process.pid}" in refused(service.data_dir)


@pytest.mark.parametrize("name", ["tracker", "device", "web", "coordinator", "engine"])
def test_killed_part_is_back_by_itself(service: Service, name: str) -> None:
    wait_until(service.is_well, 30, "the service's health")
    wait_until(lambda: service.pid(name), 30, f"{name}'s start")
    before = service.pid(name)
    kill_hard(before)
    wait_until(lambda: service.pid(name) != before and is_running(service.pid(name)), 10, f"{name}'s return")
    wait_until(service.is_well, 10, "the service's health")


def test_parts_that_stand_still_are_replaced_wherever_in_the_tree_they_are(service: Service) -> None:
    wait_until(lambda: is_ready(service), 40, "readiness")
    wait_until(lambda: len(family(service.process.pid)) >= 8, 40, "the five parts, the worker, a helper of Python's")
    ours = family(service.process.pid)[1:]
    for pid in ours:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: not any(is_running(pid) for pid in ours), 40, "the end of all that stood still")
    wait_until(lambda: is_ready(service), 60, "readiness")


def is_ready(service: Service) -> bool:
    """Is there all that a job needs, a worker of the engine included?"""
    try:
        return httpx.get(f"{service.url}/readyz", timeout=10, verify=False).is_success
    except httpx.HTTPError:
        return False


def test_device_that_hangs_up_on_the_tracker_is_replaced(service: Service) -> None:
    """Supervised by what the tracker sees, not by the pid."""
    wait_until(service.is_well, 30)
    before = service.pid("device")
    os.kill(before, signal.SIGSTOP)
    kill_hard(service.pid("tracker"))  # the stopped device can't register at its successor
    wait_until(lambda: service.pid("device") not in (0, before), 30, "another device")
    wait_until(service.is_well, 20)


def test_killed_supervisor_leaves_no_process_and_its_successor_ends_with_all_at_ctrl_c(service: Service) -> None:
    port, pids = service.url.rpartition(":")[2], family(service.process.pid)
    kill_hard(service.process.pid)
    service.process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in pids), 5, "the end of all")
    with serving(service.data_dir, "--port", port) as successor:
        wait_until(successor.is_well, 30, "the service's health")
        pids = family(successor.process.pid)
        assert len(pids) > 5
        successor.process.send_signal(signal.SIGINT)
        assert successor.process.wait(timeout=patience(5)) == 0
        assert not any(is_running(pid) for pid in pids)
        assert not (service.data_dir / "run" / "service.json").exists()
