"""No process outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from rpc import lifeline
from tests.support.processes import is_running, kill_hard, python_code, running, wait_until

PARENT = """
import subprocess, sys
from rpc.lifeline import child_env
child = subprocess.Popen([sys.executable, "-m", "rpc.lifeline", "http.server", "0"], env=child_env(),
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(child.pid, flush=True)
child.wait()
"""


def test_child_ends_when_its_parent_is_killed() -> None:
    with running(python_code(PARENT)) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_until(lambda: "rpc.lifeline" in Path(f"/proc/{child}/cmdline").read_text(), 5, "the child's start")
        kill_hard(parent.pid)
        wait_until(lambda: not is_running(child), 5, "the child's end")


def test_child_whose_parent_is_gone_already_ends_at_once() -> None:
    code = "from rpc.lifeline import die_with_parent; die_with_parent(); print('still here')"
    nobody = str(os.getppid())  # a process that lives but is not the parent
    result = subprocess.run(
        python_code(code), env={**os.environ, lifeline.PARENT_ENV: nobody}, capture_output=True, text=True, check=False
    )
    assert result.returncode == -signal.SIGKILL
    assert result.stdout == ""


def test_who_the_parent_is_is_not_passed_on_to_grandchildren() -> None:
    code = "import os; from rpc import lifeline; lifeline.die_with_parent(); print(lifeline.PARENT_ENV in os.environ)"
    result = subprocess.run(python_code(code), env=lifeline.child_env(), capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_module_runs_with_its_own_arguments(tmp_path: Path) -> None:
    (tmp_path / "echo_arguments.py").write_text("import sys; print(__name__, sys.argv[1:])")
    result = subprocess.run(
        lifeline.python_module("echo_arguments", "--port", "1"),
        env=lifeline.child_env(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "__main__ ['--port', '1']"


def test_parent_is_watched_where_the_kernel_does_not_tell() -> None:
    code = """
import sys, time
sys.platform = "darwin"
from rpc import lifeline
lifeline.die_with_parent()
print("watching", flush=True)
time.sleep(60)
"""
    parent_code = f"""
import subprocess, sys
from rpc.lifeline import child_env
child = subprocess.Popen([sys.executable, "-c", {code!r}], env=child_env(), stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""
    with running([sys.executable, "-c", parent_code]) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        kill_hard(parent.pid)
        wait_until(lambda: not is_running(child), 5, "the child's end")
