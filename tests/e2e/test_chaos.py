"""Ten things go wrong with a whole service, chosen by chance; nothing is lost, doubled, blamed or left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT


@pytest.mark.timeout(1800)
def test_service_loses_and_leaves_nothing_when_ten_things_go_wrong(tmp_path: Path) -> None:
    argv = [
        *(sys.executable, "-m", "benchmarks.chaos", "--faults", "10", "--seed", "3", "--every-sec", "4"),
        # Of one kernel: jobs that are short meet the faults in every stage.
        *("--model", "op:gemm:32,64,96", "--seq", "1", "--trials", "24"),
        *("--within-sec", "900", "--end-sec", "600", "--disk-mib", "256", "--folder", str(tmp_path)),
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "processes left" in done.stdout
