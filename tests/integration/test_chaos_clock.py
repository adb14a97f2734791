"""The clock on the wall of one process can be shifted while it runs; nobody else's, and not its monotonic one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.chaos.clock import Clocks
from tests.support.processes import python_code

TELL = "import sys, time\nfor line in sys.stdin: print(time.time(), time.monotonic(), flush=True)"
HOUR_SEC = 3600

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux loads a library before all others")


def told(process: subprocess.Popen[str]) -> tuple[float, float]:
    """How far a process's clock on the wall and its monotonic clock are from ours; one that takes long to tell is asked
    again."""
    assert process.stdin is not None
    assert process.stdout is not None
    while True:
        asked_at = time.monotonic()
        print(file=process.stdin, flush=True)
        wall, monotonic = (float(word) for word in process.stdout.readline().split())
        found = wall - time.time(), monotonic - time.monotonic()
        if time.monotonic() - asked_at < 2:
            return found


def test_clock_of_one_process_jumps_and_comes_back(tmp_path: Path) -> None:
    clocks = Clocks(tmp_path)
    command = python_code(TELL)
    with (
        subprocess.Popen(command, env=clocks.env, stdin=-1, stdout=-1, text=True) as one,
        subprocess.Popen(command, env=clocks.env, stdin=-1, stdout=-1, text=True) as other,
    ):
        try:
            for shift_sec in (0, HOUR_SEC, -HOUR_SEC, 0):
                clocks.shift(one.pid, shift_sec)
                wall, monotonic = told(one)
                assert wall == pytest.approx(shift_sec, abs=5)
                assert monotonic == pytest.approx(0, abs=5)
                assert told(other)[0] == pytest.approx(0, abs=5)
        finally:
            one.kill()
            other.kill()
