"""Ten things go wrong with a whole service, chosen by chance; nothing is lost, doubled, blamed or left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.tiny_models import write_model


@pytest.mark.timeout(420)
def test_service_loses_and_leaves_nothing_when_ten_things_go_wrong(tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny", "distilbert")
    argv = [
        *(sys.executable, "-m", "benchmarks.chaos", "--faults", "10", "--seed", "3", "--every-sec", "4"),
        *("--model", str(model), "--seq", "16", "--trials", "16", "--disk-mib", "256", "--folder", str(tmp_path)),
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "processes left" in done.stdout
