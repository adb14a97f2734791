"""Two processes are in one place only if what one names is what the other finds."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from rpc.whereabouts import whereabouts

TOLD = [sys.executable, "-c", "from rpc.whereabouts import whereabouts; print(whereabouts())"]


def told(*before: str) -> str:
    done = subprocess.run([*before, *TOLD], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip())
    return done.stdout.strip()


def test_processes_of_one_machine_and_user_are_in_one_place() -> None:
    assert told() == whereabouts()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_a_process_with_mounts_of_its_own_is_elsewhere() -> None:
    assert told("unshare", "--mount") != whereabouts()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_another_users_process_is_elsewhere() -> None:
    assert told("setpriv", "--reuid=65534", "--clear-groups") != whereabouts()
