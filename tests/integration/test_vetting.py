"""Records of others get into this process only after a build process survived them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import tvm
from sqlalchemy import Engine
from tvm.s_tir import meta_schedule as ms

from tests.support.bombs import Bomb, Crash
from tests.support.rows import make_record, make_workload
from tests.support.tiny_imports import local_target
from tests.support.tuning import product, row_sums
from tuner.db import records
from tuner.db.engine import read, write
from tuner.db.models import Record
from tuner.kernels import traces
from tuner.kernels.context import Replay, make_context, make_target
from tuner.kernels.products import find_product
from tuner.kernels.space import space_for
from tuner.measuring.build_process import Tried
from tuner.measuring.builder import BuildPool
from tuner.search.session import SearchSession
from tuner.search.transfer import Kernel
from tuner.search.vetting import Vetting
from tuner.targets import presets

TARGET = {"kind": "llvm"}


@pytest.fixture(scope="module")
def pool() -> Iterator[BuildPool]:
    pool = BuildPool(workers=1, timeout_sec=60.0)
    yield pool
    pool.close()


class Deadly:
    """In place of build processes: each dies of the traces that say so. Remembers what they were asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, questions: Iterable[Any], timeout_sec: float) -> list[Tried]:
        traces = [question.trace for question in questions]
        self.asked += traces
        return [Tried(problem="the process was ended by SIGSEGV") if "deadly" in t else Tried(True) for t in traces]


def _stored(engine: Engine, *rows: Record) -> list[Record]:
    with write(engine) as db:
        records.put_workload(db, make_workload())
        for row in rows:
            records.add(db, row)
    with read(engine) as db:
        return records.best(db, rows[0].workload_id, rows[0].target_family, 100)


def test_a_foreign_record_that_ends_processes_counts_as_failed_and_is_asked_no_more(engine: Engine) -> None:
    rows = _stored(
        engine,
        make_record("aa", 1e-6, trace="deadly", source="imported"),
        make_record("bb", 2e-6, trace="good", source="imported"),
        make_record("cc", 3e-6, trace="own and never asked"),
    )
    pool = Deadly()
    vetting = Vetting(engine, pool)  # type: ignore[arg-type]
    assert [row.candidate for row in vetting.usable(rows, "tir", TARGET)] == ["bb", "cc"]
    with read(engine) as db:
        left = records.best(db, rows[0].workload_id, rows[0].target_family, 100)
        marked = records.get(db, rows[0].workload_id, rows[0].target_family, "aa")
    assert marked is not None
    assert (marked.error_class, "SIGSEGV" in marked.error) == ("crash", True)
    assert [row.candidate for row in vetting.usable(left, "tir", TARGET)] == ["bb", "cc"]
    assert pool.asked == ["deadly", "good"]


def test_a_log_of_deadly_records_does_not_hold_up_a_round_for_long(engine: Engine) -> None:
    rows = _stored(
        engine, *(make_record(f"{n:02x}", 1e-6 * n, trace="deadly", source="imported") for n in range(1, 60))
    )
    pool = Deadly()
    assert Vetting(engine, pool).usable(rows, "tir", TARGET) == []  # type: ignore[arg-type]
    assert len(pool.asked) == 16


def test_a_build_process_tries_a_trace_as_the_search_would(pool: BuildPool, engine: Engine) -> None:
    mod, target = product(8, 16, 16), local_target()
    tir, chip = str(tvm.ir.save_json(mod)), make_target(target)
    search = SearchSession(tir, chip, None, batch=1, threads=1, seed=1)
    (proposal,) = search.propose(1)
    rows = _stored(
        engine,
        make_record("aa", 1e-6, trace=proposal.trace, source="imported"),
        make_record("bb", 2e-6, trace="[]", source="imported"),
    )
    usable = Vetting(engine, pool).usable(rows, tir, target)
    assert [row.candidate for row in usable] == ["aa", "bb"], "what makes no schedule harms nobody"
    replay = Replay(mod, chip, space_for(chip))
    assert [replay.schedule(row.trace) is not None for row in usable] == [True, False]


@pytest.mark.parametrize("name", ["m1-cpu", "m1-metal", "local"])
def test_every_sketch_of_our_spaces_can_be_read_back(name: str) -> None:
    target = make_target(local_target() if name == "local" else presets.resolve(name, "local").tvm)
    for mod in (product(64, 64, 128), row_sums()):
        strategy = ms.search_strategy.ReplayTrace()
        context = make_context(mod, target, space_for(target), strategy, seed=1, threads=1, name="sketches")
        replay = Replay(mod, target, space_for(target))
        for schedule in context.generate_design_space():
            trace = replay.trace_json(replay.candidate(schedule))
            traces.check(json.loads(trace)[0])
            assert replay.traced(trace) is not None


def test_products_of_others_are_found_by_a_build_process(pool: BuildPool, engine: Engine) -> None:
    mod, target = product(8, 16, 16), local_target()
    tir = str(tvm.ir.save_json(mod))
    (proposal,) = SearchSession(tir, make_target(target), None, batch=1, threads=1, seed=1).propose(1)
    damaged = tir.replace('"tirx.PrimFunc"', '"tirx.While"')
    kernels = [Kernel(text, [proposal.trace], True) for text in (tir, damaged, "{}", "")]
    (relative,) = Vetting(engine, pool).relatives(kernels)
    assert relative.product == find_product(mod)


def test_steps_of_a_log_are_replayed_by_a_build_process(pool: BuildPool, engine: Engine) -> None:
    tir = str(tvm.ir.save_json(product(8, 16, 16)))
    made, refused = Vetting(engine, pool).replay_steps(tir, local_target(), ["[]", json.dumps([["RF", 0, 0, 0]])])
    assert set(made) == {"name", "trace"}
    assert set(refused) == {"obstacle"}


def test_what_eats_the_memory_or_crashes_ends_its_process_and_nobody_else(pool: BuildPool) -> None:
    eats, crashes, fits = pool.ask([Bomb(20 * 2**30), Crash(), Bomb(2**26)], 60.0)
    assert "memory" in eats.problem
    assert "SIGSEGV" in crashes.problem
    assert (fits.answer, fits.problem) == (1, "")
