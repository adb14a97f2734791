"""Processes are started side by side, brought back, and ended, whatever becomes of them."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rpc.errors import StartFailed
from rpc.supervised import ProcessSpec
from rpc.supervisor import Supervisor
from tests.support.processes import is_running, kill_hard, patience, python_code, running, wait_until, within

TIED = "import os, signal, sys, time; from rpc.lifeline import die_with_parent; die_with_parent(); "
SLEEP = TIED + "time.sleep(300)"
STUBBORN = TIED + "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(300)"

TALK = (
    TIED
    + """
while True:
    print('x' * 4096, flush=True)
    time.sleep(0.01)
"""
)


def at_once() -> bool:
    return True


def sleeper(name: str, **options: object) -> ProcessSpec:
    return ProcessSpec(name, python_code(SLEEP), **{"ready": at_once, **options})  # type: ignore[arg-type]


@contextmanager
def supervising(
    tmp_path: Path, *specs: ProcessSpec, on_change: Callable[[dict[str, int]], None] = print
) -> Iterator[Supervisor]:
    supervisor = Supervisor(specs, tmp_path / "logs", on_change)
    try:
        supervisor.start()
        yield supervisor
    finally:
        supervisor.stop()


def ticks_until(supervisor: Supervisor, happened: Callable[[], object], timeout_sec: float = 10) -> None:
    def look() -> object:
        supervisor.tick()
        return happened()

    wait_until(look, timeout_sec)


def test_processes_start_side_by_side_but_for_one_that_comes_after_another(tmp_path: Path) -> None:
    first_is_ready, other_runs = tmp_path / "ready", tmp_path / "runs"
    runs = TIED + "open(sys.argv[1], 'w').close(); time.sleep(300)"
    waits = TIED + "\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)\nopen(sys.argv[2], 'w'); time.sleep(300)"
    seen: list[tuple[list[str], bool]] = []
    with supervising(
        tmp_path,
        sleeper("last", after="first"),
        ProcessSpec("first", python_code(waits, str(other_runs), str(first_is_ready)), ready=first_is_ready.exists),
        ProcessSpec("other", python_code(runs, str(other_runs)), ready=at_once),
        on_change=lambda pids: seen.append((sorted(pids), first_is_ready.exists())),
    ):
        assert seen[-1] == (["first", "last", "other"], True)
        assert [names for names, _ in seen] == [["first"], ["first", "other"], ["first", "last", "other"]]


def test_who_comes_after_another_is_ended_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rpc.supervisor._TERM_SEC", patience(3))
    end, seen = tmp_path / "end", tmp_path / "seen"
    on_term = TIED + "from pathlib import Path; signal.signal(signal.SIGTERM, lambda *_: ({}, os._exit(0))); "
    on_term += "print('up', flush=True); time.sleep(300)"
    says = on_term.format("Path(sys.argv[1]).touch()")
    looks = on_term.format("time.sleep(0.3), Path(sys.argv[2]).write_text(str(Path(sys.argv[1]).exists()))")
    first = ProcessSpec("first", python_code(says, str(end)), ready=at_once)
    last = ProcessSpec("last", python_code(looks, str(end), str(seen)), after="first", ready=at_once)
    with supervising(tmp_path, first, last):
        logs = [tmp_path / "logs" / f"{name}.log" for name in ("first", "last")]
        wait_until(lambda: all(log.read_text() for log in logs), 10)
    assert seen.read_text() == "False"
    assert end.exists()


def test_killed_process_is_back_with_another_pid(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with supervising(tmp_path, sleeper("device"), sleeper("web")) as supervisor:
        before = supervisor.pids()
        kill_hard(before["device"])
        ticks_until(supervisor, lambda: supervisor.pids().get("device") not in (None, before["device"]))
        assert supervisor.pids()["web"] == before["web"]
        assert "device was ended by SIGKILL" in caplog.text


def test_what_a_dead_process_started_goes_with_it(tmp_path: Path) -> None:
    code = (
        TIED
        + "import subprocess; child = subprocess.Popen(['sleep', '300']); print(child.pid, flush=True); time.sleep(300)"
    )
    with supervising(tmp_path, ProcessSpec("engine", python_code(code), ready=at_once)) as supervisor:
        log = tmp_path / "logs" / "engine.log"
        wait_until(lambda: log.read_text().strip(), 10)
        orphan = int(log.read_text())
        kill_hard(supervisor.pids()["engine"])
        ticks_until(supervisor, lambda: not is_running(orphan))


def test_process_that_never_comes_up_fails_the_start_with_its_log(tmp_path: Path) -> None:
    broken = ProcessSpec("web", python_code("print('no such module: api'); raise SystemExit(3)"), ready=lambda: False)
    with (
        pytest.raises(StartFailed, match="web ended with code 3") as caught,
        supervising(tmp_path, sleeper("ok"), broken),
    ):
        pytest.fail("it started")
    assert "no such module: api" in caught.value.message


def test_process_that_is_not_ready_in_time_fails_the_start(tmp_path: Path) -> None:
    late = sleeper("engine", ready=lambda: False, ready_timeout_sec=0.3)
    with pytest.raises(StartFailed, match=r"engine was not ready within 0\.3 s"), supervising(tmp_path, late):
        pytest.fail("it started")


def test_unwell_process_is_replaced_and_one_nobody_can_judge_is_not(tmp_path: Path) -> None:
    verdicts: dict[int, bool] = {}
    supervisors: list[Supervisor] = []

    def healthy() -> bool:
        return verdicts.setdefault(supervisors[0].pids()["device"], not verdicts)

    often = {"health_every_sec": 0.1, "unhealthy_sec": 0.0}
    unwell = sleeper("device", healthy=healthy, **often)
    unknown = sleeper("tracker", healthy=lambda: None, **often)
    with supervising(tmp_path, unknown, unwell) as supervisor:
        supervisors.append(supervisor)
        before = supervisor.pids()
        verdicts[before["device"]] = False
        ticks_until(supervisor, lambda: supervisor.pids().get("device") not in (None, before["device"]))
        assert supervisor.pids()["tracker"] == before["tracker"]


def test_process_that_answers_late_keeps_nobody_else_from_being_brought_back(tmp_path: Path) -> None:
    asked, answer = threading.Event(), threading.Event()

    def healthy() -> bool:
        asked.set()
        return answer.wait(patience(30))

    slow = sleeper("engine", healthy=healthy, health_every_sec=0.1)
    with supervising(tmp_path, slow, sleeper("web")) as supervisor:
        ticks_until(supervisor, asked.is_set)
        before = supervisor.pids()
        kill_hard(before["web"])
        ticks_until(supervisor, lambda: supervisor.pids().get("web") not in (None, before["web"]), timeout_sec=5)
        answer.set()


def test_process_that_can_not_be_started_just_now_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with supervising(tmp_path, sleeper("web")) as supervisor:
        before = supervisor.pids()
        with monkeypatch.context() as patched:
            patched.setattr(subprocess, "Popen", refuse)
            kill_hard(before["web"])
            ticks_until(supervisor, lambda: "could not be started" in caplog.text)
        ticks_until(supervisor, lambda: supervisor.pids().get("web") not in (None, before["web"]))


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def test_disk_that_takes_nothing_ends_no_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def write_pids(pids: dict[str, int]) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "web.log").symlink_to("/dev/full")  # takes opens and refuses writes with ENOSPC
    talker = ProcessSpec("web", python_code(TALK), ready=at_once)
    with supervising(tmp_path, talker, on_change=write_pids) as supervisor:
        ticks_until(supervisor, lambda: "web.log takes nothing for now" in caplog.text)
        assert is_running(supervisor.pids()["web"])
    assert "going on without: " in caplog.text


def test_stop_ends_even_a_process_that_ignores_it_within_five_seconds(tmp_path: Path) -> None:
    stubborn = ProcessSpec("stubborn", python_code(STUBBORN), ready=at_once)
    with supervising(tmp_path, stubborn, sleeper("other")) as supervisor:
        wait_until((tmp_path / "logs" / "stubborn.log").read_text, 10)
        pids = supervisor.pids()
        with within(5):
            supervisor.stop()
        assert not any(is_running(pid) for pid in pids.values())


MAIN = f"""
import json, sys
from pathlib import Path
from rpc import supervisor
from rpc.supervised import ProcessSpec
supervisor._TERM_SEC = {patience(3)}  # who is slow to end is not said to be killed
specs = [ProcessSpec(name, [sys.executable, "-c", {SLEEP!r}], ready=lambda: True) for name in ("one", "two")]
main = supervisor.Supervisor(specs, Path(sys.argv[1]))
main.run(lambda: print(json.dumps(main.pids()), flush=True))
print("stopped", flush=True)
"""


def started(process: subprocess.Popen[str]) -> dict[str, int]:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_everything_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with running([sys.executable, "-c", MAIN, str(tmp_path)]) as main:
        pids = started(main)
        os.kill(main.pid, number)
        assert main.wait(timeout=patience(5)) == 0
        assert not any(is_running(pid) for pid in pids.values())
        assert main.stdout is not None
        assert main.stdout.read() == "stopped\n"


def test_killed_supervisor_leaves_no_process_behind(tmp_path: Path) -> None:
    with running([sys.executable, "-c", MAIN, str(tmp_path)]) as main:
        pids = started(main)
        kill_hard(main.pid)
        wait_until(lambda: not any(is_running(pid) for pid in pids.values()), 5)
