"""Builds go on whoever of the build pool's processes dies or is stopped, and blame only who fails twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import namedtuple
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import tvm

from tests.support.deadly_path import DeadlyPath
from tests.support.processes import (
    command_of,
    is_running,
    kill_hard,
    oom_score_adj,
    patience,
    wait_until,
    with_all_below,
)
from tests.support.tiny_imports import local_target
from tests.support.tuning import product
from tuner.errors import StorageFull
from tuner.measuring import build_process
from tuner.measuring.build_process import BuildJob
from tuner.measuring.builder import BuildPool

TARGET = json.dumps(local_target())


@pytest.fixture(scope="module")
def tir() -> str:
    return str(tvm.ir.save_json(product(8, 8, 16)))


@pytest.fixture(scope="module")
def others() -> Collection[psutil.Process]:
    """Who was there before the pool: the tests' Postgres, for one."""
    return psutil.Process().children()


@pytest.fixture(scope="module")
def pool(others: Collection[psutil.Process]) -> Iterator[BuildPool]:
    """Whoever of its two processes a test ends, the next finds it whole."""
    pool = BuildPool(workers=2, timeout_sec=patience(20))
    yield pool
    pool.close()


@pytest.fixture
def single() -> Iterator[BuildPool]:
    """Of one process, which does not wait long."""
    pool = BuildPool(workers=1, timeout_sec=5.0)
    yield pool
    pool.close()


def good(tir: str, folder: Path, count: int) -> list[BuildJob]:
    return [BuildJob(tir, TARGET, str(folder / f"{number}" / "good.so")) for number in range(count)]


def deadly(tir: str, path: Path, kind: str, once: bool = False) -> tuple[BuildJob, DeadlyPath]:
    where = DeadlyPath(kind, path, once)
    return BuildJob(tir, TARGET, where), where  # type: ignore[arg-type]


def processes(kind: str = "", but: Collection[psutil.Process] = ()) -> list[int]:
    """What this process has started and that still runs, with all that it started; ``but`` those of others."""
    own = [child for child in psutil.Process().children() if child not in but]
    found = [(process.pid, command_of(process)) for child in own for process in with_all_below(child)]
    return [pid for pid, command in found if command and kind in command]


def visitors(where: DeadlyPath) -> int:
    """Different processes that came to a path."""
    return len(set(where.log.read_text().split()))


def test_a_build_may_have_a_deadline_of_its_own(tir: str, tmp_path: Path, pool: BuildPool) -> None:
    hung, _ = deadly(tir, tmp_path / "hung.so", "spin")
    (result,) = pool.build([replace(hung, timeout_sec=3.0)])
    assert (result.error_class, "3 s" in result.error) == ("build_timeout", True)


def test_candidate_that_kills_or_hangs_its_process_twice_is_a_result_and_the_rest_is_built(
    tir: str, tmp_path: Path, single: BuildPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_process, "_WORKED", 0.02)  # a crowded machine gives it little
    first, last = good(tir, tmp_path, 2)
    killed, killer = deadly(tir, tmp_path / "killed.so", "kill")
    hung, spinner = deadly(tir, tmp_path / "hung.so", "spin")
    broken = BuildJob("{}", TARGET, str(tmp_path / "broken.so"))
    first, killed, broken, last = (replace(job, timeout_sec=patience(5)) for job in (first, killed, broken, last))
    results = single.build([first, killed, hung, broken, last])
    assert [result.error_class for result in results] == ["", "build", "build_timeout", "build", ""]
    assert "SIGKILL" in results[1].error
    assert "5 s" in results[2].error
    assert results[3].error
    assert Path(results[0].path).is_file()
    assert Path(results[4].path).is_file()
    assert visitors(killer) == 2, "a death alone says nothing about the candidate"
    assert visitors(spinner) == 1, "it had computed all the time: no other try would end otherwise"


def test_build_processes_go_first_when_memory_runs_out(tir: str, tmp_path: Path, pool: BuildPool) -> None:
    pool.build(good(tir, tmp_path, 2))
    workers = processes("build_worker")
    assert workers
    assert {oom_score_adj(pid) for pid in workers} == {500}


@pytest.mark.parametrize("kind", ["kill", "stop"])
def test_candidate_whose_process_is_killed_or_stopped_is_built_by_the_next(
    tir: str, tmp_path: Path, single: BuildPool, kind: str
) -> None:
    job, where = deadly(tir, tmp_path / "innocent.so", kind, once=True)
    (built,) = single.build([job])
    assert (built.error_class, os.fspath(built.path)) == ("", str(where.path))
    assert visitors(where) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_batches_go_on_whichever_process_is_killed_between_them(
    others: Collection[psutil.Process], pool: BuildPool, tir: str, tmp_path: Path, number: int
) -> None:
    for batch in range(2):
        results = pool.build(good(tir, tmp_path / str(batch), 4))
        assert [result.error for result in results] == [""] * 4
        for pid in processes(but=others):  # helpers too, unless they ended with the one before
            with suppress(ProcessLookupError):
                os.kill(pid, number)
    assert [result.error for result in pool.build(good(tir, tmp_path / "last", 4))] == [""] * 4


def test_batch_goes_on_while_its_processes_are_killed(pool: BuildPool, tir: str, tmp_path: Path) -> None:
    pool.build(good(tir, tmp_path / "warm", 2))

    def while_some_are_killed() -> Iterator[BuildJob]:
        jobs = good(tir, tmp_path, 60)
        for number, job in enumerate(jobs):
            yield job
            if number % 20 == 19:
                wait_until(Path(jobs[number - 10].path).exists, 30, "the build before")
                kill_hard(processes("build_worker")[0])

    assert [result.error for result in pool.build(while_some_are_killed())] == [""] * 60


def test_process_that_takes_nothing_in_is_ended_at_the_deadline(tir: str, tmp_path: Path, single: BuildPool) -> None:
    """A job larger than what a socket holds, and nobody there who reads it."""
    before = set(processes())
    single.build(good(tir, tmp_path / "warm", 1))
    (pid,) = set(processes("build_worker")) - before
    os.kill(pid, signal.SIGSTOP)
    (large,) = good(tir + " " * 2**22, tmp_path, 1)
    (built,) = single.build([large])
    assert built.error_class == ""
    assert not is_running(pid)


def test_full_disk_is_no_fault_of_a_candidate(pool: BuildPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**30, 2**30, 0))
    with pytest.raises(StorageFull, match=str(tmp_path)):
        pool.build([BuildJob("{}", TARGET, str(tmp_path / "broken.so"))])


def test_closed_pool_leaves_no_process(tir: str, tmp_path: Path) -> None:
    before = set(processes())
    pool = BuildPool(workers=2, timeout_sec=patience(20))
    pool.build(good(tir, tmp_path, 2))
    assert len(set(processes("build_worker")) - before) == 2
    pool.close()
    wait_until(lambda: set(processes()) <= before, 5, "the end of all")
