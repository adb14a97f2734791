"""The small disk of a run that is killed goes with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

_MOUNT = """
import sys
from pathlib import Path
from benchmarks.chaos.faults import small_disk
print(small_disk(Path(sys.argv[1]), 16) or "mounted", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="disks of memory are Linux's")
def test_a_killed_run_leaves_nothing_mounted(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    argv = [sys.executable, "-c", _MOUNT, str(disk)]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout is not None
            said = run.stdout.readline().strip()
            if said != "mounted":
                pytest.skip(said)
            assert str(disk) in Path(f"/proc/{run.pid}/mounts").read_text()
            assert str(disk) not in Path("/proc/self/mounts").read_text()
        finally:
            run.kill()
    assert list(disk.iterdir()) == []
    disk.rmdir()
