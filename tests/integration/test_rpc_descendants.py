"""What a supervisor's processes leave behind, or leave standing, is ended by it and leaves no zombie."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest

from rpc import descendants
from tests.support.processes import is_running, kill_hard, patience, running, stop_hard, wait_until

MAIN = """
import subprocess, sys, time
from rpc.descendants import Descendants
descendants = Descendants(look_every_sec=0.1, stopped_sec=0.5, left_sec=0.5)
descendants.adopt()
parent = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
while not parent.poll():
    descendants.look([parent.pid])
    time.sleep(0.05)
while "the parent is dead":
    descendants.look([])
    time.sleep(0.05)
"""
PARENT = """
import subprocess, time
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(300)
"""
MAIN_THAT_ENDS = """
import subprocess, sys
from rpc.descendants import Descendants
descendants = Descendants()
descendants.adopt()
parent = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(parent.stdout.readline(), flush=True)
descendants.end()
print(open("/proc/self/task/%d/children" % __import__("os").getpid()).read(), flush=True)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans are init's")


@pytest.fixture
def main() -> Iterator[subprocess.Popen[str]]:
    """A supervisor of a parent that has a child."""
    with running([sys.executable, "-c", MAIN, PARENT]) as process:
        yield process


def child_of(main: subprocess.Popen[str]) -> int:
    assert main.stdout is not None
    return int(main.stdout.readline())


def test_process_that_outlives_its_parent_is_ended_and_buried(main: subprocess.Popen[str]) -> None:
    child = child_of(main)
    (parent,) = psutil.Process(main.pid).children()
    kill_hard(parent.pid)
    wait_until(lambda: not psutil.pid_exists(child), 10, "the child's burial")


def test_child_that_ends_after_its_parent_leaves_no_zombie(main: subprocess.Popen[str]) -> None:
    child = child_of(main)
    (parent,) = psutil.Process(main.pid).children()
    kill_hard(parent.pid)
    kill_hard(child)
    wait_until(lambda: not psutil.pid_exists(child), 10, "the child's burial")


def test_stopped_process_is_ended_wherever_it_is(main: subprocess.Popen[str]) -> None:
    child = child_of(main)
    os.kill(child, signal.SIGSTOP)
    wait_until(lambda: not is_running(child), 10, "the child's end")
    assert [process.status() for process in psutil.Process(main.pid).children()] != [psutil.STATUS_ZOMBIE]


def test_process_that_is_continued_soon_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(descendants, "time", SimpleNamespace(monotonic=lambda: now))
    found = descendants.Descendants(look_every_sec=0.1, stopped_sec=0.5)
    with running(["sleep", "300"]) as child:
        process = psutil.Process(child.pid)
        monkeypatch.setattr(descendants, "_below", lambda: [process])
        for is_stopped in (True, False) * 4:  # all four together are longer than it may stand still
            if is_stopped:
                stop_hard(child.pid)
            else:
                os.kill(child.pid, signal.SIGCONT)
                wait_until(lambda: process.status() != psutil.STATUS_STOPPED, 5, "its return")
            for _ in range(2):
                found.look([child.pid])
                now += 0.2
        assert child.poll() is None


def test_end_leaves_nothing() -> None:
    with running([sys.executable, "-c", MAIN_THAT_ENDS, PARENT]) as main:
        assert main.stdout is not None
        child = int(main.stdout.readline())
        output, _ = main.communicate(timeout=patience(20))
    assert not psutil.pid_exists(child)
    assert output.split() == []
