"""The database's password is in no message and no log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, free_port, patience

pytest.importorskip("psycopg", reason="the extra postgres is not installed")


@pytest.mark.parametrize("command", [("serve",), ("db", "upgrade")])
def test_a_command_that_can_not_reach_its_database_keeps_the_password(tmp_path: Path, command: tuple[str, ...]) -> None:
    url = f"postgresql+psycopg://tunesmith:SECRET@127.0.0.1:{free_port()}/tunes"
    done = subprocess.run(
        [sys.executable, "-m", "tuner.cli.main", *command],
        cwd=ROOT,
        env={**os.environ, "TUNER_DATABASE_URL": url, "TUNER_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=False,
    )
    assert done.returncode == 1
    logs = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert "127.0.0.1" in done.stderr
    assert not [text for text in (done.stdout, done.stderr, *logs) if "SECRET" in text]
