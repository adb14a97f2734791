"""`tunesmith demo` around its job: what it starts, what it says when that fails, what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, family, free_port, is_running, patience, wait_until
from tests.support.service import COMMAND

DEMO = [*COMMAND, "demo", "--no-wait", "--trials"]


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    return {**os.environ, "TUNER_DATA_DIR": str(data_dir), **settings}


def test_service_that_can_not_start_is_told_with_its_reason(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*DEMO, "8"],
            cwd=ROOT,
            env=environment(tmp_path, TUNER_PORT=port),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience(60),
            check=False,
        )
    assert done.returncode == 1
    assert "error: The service did not start: " in done.stderr
    assert port in done.stderr
    assert "hint: " in done.stderr


def test_refused_wish_ends_the_service_that_was_started_for_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "0"],
        cwd=ROOT,
        env=environment(tmp_path, TUNER_PORT=str(free_port())),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patience(120),
        check=False,
    )
    assert done.returncode == 1
    assert "error: A budget of 0 trials" in done.stderr
    assert not (tmp_path / "run" / "service.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent at once")
def test_killed_demo_leaves_no_process_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*DEMO, "8"],
        cwd=ROOT,
        env=environment(tmp_path, TUNER_PORT=str(free_port())),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    run_file = tmp_path / "run" / "service.json"
    try:
        wait_until(lambda: run_file.exists() and len(json.loads(run_file.read_text())["pids"]) >= 3, 60, "the start")
        pids = [*json.loads(run_file.read_text())["pids"].values(), *family(process.pid)]
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in pids), 10, "the end of everything")
