"""Rounds on a real device: what is recorded, what is never tried again, and what harmful candidates cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import tvm

from rpc.errors import DeviceUnavailable
from tests.support.processes import free_port, patience, wait_until
from tests.support.rpc_device import agent_process, free, tracker_process
from tests.support.tiny_imports import local_target
from tests.support.tuning import Bench, SabotagedBuilds, hang, product, row_sums, segfault, wrong
from tuner.db import log_line, records
from tuner.db.engine import read, write
from tuner.db.models import Record
from tuner.importers.operators import catalog
from tuner.importers.operators.expressions import define
from tuner.kernels.context import Replay, candidate_id, make_target
from tuner.kernels.precision import LOWER, available, lowered
from tuner.kernels.products import tile_of
from tuner.kernels.space import space_for
from tuner.kernels.workload import module_from_json
from tuner.measuring import measure as measuring
from tuner.measuring.measure import Measured, Probe, measure
from tuner.schemas.common import Strategy
from tuner.search import round as rounds
from tuner.search.guess import Guess, guess
from tuner.search.session import SearchSession


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    number = free_port()
    with tracker_process(number), agent_process(number):
        yield number


@pytest.fixture(scope="module")
def bench(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One for all tests: they tell their records apart by workload, and share the warm build process."""
    made = Bench(tmp_path_factory.mktemp("bench"), port)
    yield made
    made.close()


@pytest.fixture
def sabotage(bench: Bench) -> Iterator[SabotagedBuilds]:
    """The bench's builds, to be spoilt; whole again after the test."""
    pool = bench.tuner.builders
    spoilt = SabotagedBuilds(pool, select=lambda job: False, change=lambda job: job)
    bench.tuner.builders = spoilt  # type: ignore[assignment]
    yield spoilt
    bench.tuner.builders = pool


def test_round_counts_what_it_recorded(bench: Bench) -> None:
    job = bench.job(product(16, 32, 64))
    row = bench.round(job, batch=4)
    found = bench.records(row)
    assert row.state == "done"
    assert row.measured == len(found) == 4
    assert row.failed == sum(record.error_class != "" for record in found) == 0
    best = min(found, key=lambda record: record.mean_sec or 1.0)
    assert best.mean_sec is not None
    assert row.best_us == pytest.approx(best.mean_sec * 1e6)
    link = bench.link(job)
    assert (link.trials, link.best_us) == (4, pytest.approx(row.best_us))
    assert all(record.run_secs and record.canary_ratio and record.trace for record in found)
    assert not list(bench.settings.jobs_dir.glob("*/*/*")), "libraries of candidates were left behind"


def test_a_convolution_is_tuned_by_evolution_and_computes_what_it_should(bench: Bench) -> None:
    definition = define(catalog.parse("op:conv2d:1,4,8,8,8,3,1,1"))
    named = {"global_symbol": "main", "tirx.noalias": True, "layout_free_buffers": list(definition.constants)}
    job = bench.job(tvm.IRModule({"main": definition.func.with_attrs(named)}))
    row = bench.round(job, batch=3)
    found = bench.records(row)
    assert (row.state, row.measured, row.failed) == ("done", 3, 0)
    assert all(record.run_secs and tile_of(record.trace) is None for record in found)
    assert any(record.checked for record in found), "the best one's outputs were compared with an unscheduled build's"


def test_records_appear_one_by_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured before a kill is kept, so it must be written before the next is measured."""
    job = bench.job(product(16, 32, 80))
    counts: list[int] = []
    before = len(bench.records())

    def watched(*given: Any) -> None:
        *others, tell, repeats = given

        def told(probe: Probe, result: Measured) -> None:
            tell(probe, result)
            counts.append(len(bench.records()) - before)

        measure(*others, told, repeats)

    monkeypatch.setattr(rounds, "measure", watched)
    bench.round(job, batch=6)
    assert counts == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("shape", [(16, 32, 96), (8, 16, 24)])
def test_no_candidate_is_measured_twice_by_rounds_or_after_a_restart(bench: Bench, shape: tuple[int, int, int]) -> None:
    job = bench.job(product(*shape))
    rows = [bench.round(job), bench.round(job)]
    bench.restart()
    rows.append(bench.round(job))
    other = bench.job(product(*shape))
    rows.append(bench.round(other))
    rows.append(bench.round(job))
    names = [record.candidate for row in rows for record in bench.records(row)]
    assert len(names) == len(set(names)) == sum(row.measured for row in rows) > 8


def test_a_job_that_is_through_leaves_no_search_behind(bench: Bench) -> None:
    job, other = bench.job(product(8, 16, 48)), bench.job(product(8, 16, 64))
    first, _ = bench.round(job), bench.round(other)
    bench.tuner.forget(job.id)
    searched = {job_id for job_id, _ in bench.tuner._searches}
    assert other.id in searched
    assert job.id not in searched
    again = bench.round(job)
    names = [record.candidate for row in (first, again) for record in bench.records(row)]
    assert len(names) == len(set(names)) > first.measured


@pytest.mark.usefixtures("few_at_once")
def test_two_jobs_that_share_a_workload_do_not_measure_the_same(bench: Bench) -> None:
    """Both searches are warm and start from the same seed."""
    first, second = bench.job(row_sums(24)), bench.job(row_sums(24))
    rows = [bench.round(job) for job in (first, second, first)]
    names = [record.candidate for row in rows for record in bench.records(row)]
    assert len(names) == len(set(names)) == sum(row.measured for row in rows) > 0


def test_workload_that_is_no_product_is_searched_too(bench: Bench) -> None:
    job = bench.job(row_sums())
    row = bench.round(job)
    assert row.measured > 0
    assert row.best_us is not None


def test_other_workloads_are_not_looked_up_for_what_is_no_product(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "related", lambda *_: pytest.fail("looked up"))
    assert bench.round(bench.job(row_sums(56)), batch=1).measured == 1


@pytest.mark.usefixtures("few_at_once")
def test_small_space_is_exhausted_and_says_so(bench: Bench) -> None:
    job = bench.job(row_sums(1, 2))
    rows = [bench.round(job, batch=32) for _ in range(4)]
    assert rows[-1].measured == 0
    assert rows[-1].state == "done"
    assert [row.exhausted for row in rows].index(True) == [row.measured for row in rows].index(0)


def test_record_replays_to_the_same_candidate(bench: Bench) -> None:
    """Through the database's JSON and the log's, in a context that knows only the workload."""
    for mod in (product(16, 32, 112), row_sums(40)):
        job = bench.job(mod)
        row = bench.round(job)
        target = make_target(job.target_json)
        workload = bench.workload(job)
        replay = Replay(module_from_json(workload.tir), target, space_for(target))
        for record in bench.records(row):
            line = log_line.line_of(record, workload)
            parsed = Record(**log_line.entry_of(line.encode()).record)
            schedule = replay.schedule(parsed.trace)
            assert schedule is not None
            assert candidate_id(schedule) == record.candidate


def test_segfaulting_candidate_is_marked_and_never_sent_again(bench: Bench, sabotage: SabotagedBuilds) -> None:
    job = bench.job(product(16, 32, 128))
    victims: list[str] = []

    def second(build: object) -> bool:
        path = getattr(build, "path", "")
        victims.append(path)
        return len(victims) == 2

    sabotage.select, sabotage.change = second, segfault
    row = bench.round(job, batch=4)
    wait_until(lambda: free(bench.port), 5)
    found = bench.records(row)
    assert sorted(record.error_class for record in found) == ["", "", "", "crash"]
    (poison,) = [record for record in found if record.error_class]
    assert poison.candidate in victims[1]
    assert "crashed" in poison.error
    assert (row.measured, row.failed) == (4, 1)

    sabotage.select = lambda build: False
    bench.restart()
    later = [bench.round(job), bench.round(bench.job(product(16, 32, 128), cold=True), batch=8)]
    tried = {record.candidate for one in later for record in bench.records(one)}
    assert tried
    assert poison.candidate not in tried


def test_hanging_candidate_times_out_and_the_rest_is_measured(
    bench: Bench, sabotage: SabotagedBuilds, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bench.job(product(16, 32, 144))
    monkeypatch.setattr(measuring, "session_sec", lambda _, left, __: 6.0 if left == 3 else patience(20))
    built: list[object] = []

    def first(build: object) -> bool:
        built.append(build)
        return len(built) == 1

    sabotage.select, sabotage.change = first, hang
    row = bench.round(job, batch=3)
    assert sorted(record.error_class for record in bench.records(row)) == ["", "", "timeout"]
    wait_until(lambda: free(bench.port), 5)


def test_a_jobs_own_deadline_is_that_of_its_builds_and_sessions(
    bench: Bench, sabotage: SabotagedBuilds, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bench.job(product(16, 32, 152), terms={"timeout_sec": 33})
    seen: list[float | None] = []
    sabotage.select = lambda build: bool(seen.append(build.timeout_sec))  # type: ignore[func-returns-value]
    monkeypatch.setattr(rounds, "measure", lambda device, *_: seen.append(device.session_timeout_sec))
    bench.round(job, batch=2)
    assert seen == [33, 33, 33]


def test_a_job_that_asks_for_it_is_searched_at_random(bench: Bench) -> None:
    def proposed(strategy: Strategy) -> set[str]:
        target = make_target(job.target_json)
        return {
            one.id
            for one in SearchSession(
                workload.tir, target, None, batch=4, threads=1, seed=int(workload.id[-7:], 16) + 1, strategy=strategy
            ).propose(4)
        }

    job = bench.job(product(16, 32, 168), terms={"strategy": "random"})
    workload = bench.workload(job)
    measured = {record.candidate for record in bench.records(bench.round(job, batch=4))}
    assert measured == proposed("random") != proposed("auto")


def test_failed_build_is_a_result(bench: Bench, sabotage: SabotagedBuilds) -> None:
    job = bench.job(product(16, 32, 160))
    built: list[object] = []

    def third(build: object) -> bool:
        built.append(build)
        return len(built) == 3

    sabotage.select, sabotage.change = third, lambda build: replace(build, tir="{}")
    row = bench.round(job, batch=3)
    found = bench.records(row)
    assert sorted(record.error_class for record in found) == ["", "", "build"]
    assert (row.measured, row.failed) == (3, 1)


def test_fastest_candidate_with_wrong_outputs_is_rejected(bench: Bench, sabotage: SabotagedBuilds) -> None:
    job = bench.job(product(16, 32, 176))
    checked: list[str] = []

    def first_check(build: object) -> bool:
        path = getattr(build, "path", "")
        if path.endswith("-check.so"):
            checked.append(path)
        return len(checked) == 1 and path == checked[0]

    sabotage.select, sabotage.change = first_check, wrong
    row = bench.round(job, batch=4)
    found = bench.records(row)
    (rejected,) = [record for record in found if record.error_class]
    assert (rejected.error_class, rejected.mean_sec) == ("wrong", None)
    assert "off by" in rejected.error
    assert rejected.candidate in checked[0]
    assert len(checked) == 2, "the next best was not looked at"
    good = [record for record in found if not record.error_class]
    best = min(record.mean_sec or 1.0 for record in good)
    assert bench.link(job).best_us == pytest.approx(best * 1e6)
    with read(bench.engine) as db:
        (shown,) = records.best(db, rejected.workload_id, job.target_family)
    assert shown.candidate != rejected.candidate
    assert shown.checked
    assert not rejected.checked


def test_no_more_is_kept_warm_than_is_allowed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_MAX_CHECKS", 2)
    monkeypatch.setattr(rounds, "_MAX_SEARCHES", 2)
    bench.restart()
    jobs = [bench.job(product(16, 32, columns)) for columns in (400, 416, 432)]
    for job in jobs:
        assert bench.round(job, batch=1).state == "done"
    assert [workload for *_, workload in bench.tuner._checks] == [bench.workload(job).id for job in jobs[1:]]
    assert [job_id for job_id, _ in bench.tuner._searches] == [job.id for job in jobs[1:]]


def test_cold_job_ignores_earlier_records(bench: Bench) -> None:
    first = bench.job(product(16, 32, 192), cold=True)  # so that both take their tiles in the same order
    earlier = bench.records(bench.round(first))
    with write(bench.engine) as db:  # too good to be reached
        for record in earlier:
            row = db.get(Record, record.id)
            assert row is not None
            row.mean_sec, row.run_secs = 1e-9, [1e-9]
    cold = bench.job(product(16, 32, 192), cold=True)
    row = bench.round(cold)
    again = {record.candidate for record in bench.records(row)}
    assert row.measured == 4
    assert again & {record.candidate for record in earlier}, "it kept away from what others tried"
    best = bench.link(cold).best_us
    assert best is not None
    assert best > 1e-2


def test_restarted_search_knows_what_was_fast(bench: Bench) -> None:
    """The first batch after a restart tries the neighbours of the best tile, not the beginning of the list again."""
    job = bench.job(product(64, 128, 256))
    rows = [bench.round(job, batch=8) for _ in range(2)]
    warm = bench.tuner
    bench.restart()
    row = bench.round(job, batch=8)
    assert row.measured == 8
    assert bench.tuner is not warm
    assert not {r.candidate for r in bench.records(row)} & {r.candidate for one in rows for r in bench.records(one)}


@pytest.mark.parametrize("cold", [False, True])
def test_best_tile_of_another_length_is_measured_first_unless_cold(bench: Bench, cold: bool) -> None:
    def block(record: Record | Guess) -> tuple[int, int]:
        tile = tile_of(record.trace)
        assert tile is not None
        return tile.rows, tile.vectors

    columns = 384 if cold else 320
    guessed = guess(product(48, 48, columns), make_target(local_target()))
    assert guessed is not None
    usual, *others = bench.records(bench.round(bench.job(product(24, 48, columns), cold=True), batch=12))
    unusual = next(record for record in others if block(record) != block(usual))
    with write(bench.engine) as db:  # by far the best, as the database says
        row = db.get(Record, unusual.id)
        assert row is not None
        row.mean_sec = 1e-9
    (first,) = bench.records(bench.round(bench.job(product(48, 48, columns), cold=cold), batch=1))
    assert block(first) == block(guessed if cold else unusual)


def test_device_that_is_away_fails_the_round_not_the_candidates(bench: Bench) -> None:
    job = bench.job(product(16, 32, 208), cold=True)
    address = bench.device
    bench.device = replace(address, key="nobody", lease_timeout_sec=0.5)
    with pytest.raises(DeviceUnavailable, match="nobody"):
        bench.round(job)
    bench.device = address
    workload = bench.workload(job).id
    assert [record for record in bench.records() if record.workload_id == workload] == []
    undisturbed = bench.job(product(16, 32, 208), cold=True)
    late, early = ([record.candidate for record in bench.records(bench.round(one))] for one in (job, undisturbed))
    assert late == early, "the most promising were passed over"


def test_target_of_records_is_the_jobs(bench: Bench) -> None:
    job = bench.job(product(16, 32, 224))
    (first, *_) = bench.records(bench.round(job))
    assert first.target_json == job.target_json
    assert first.target_family == job.target_family
    assert tvm.target.Target(first.target_json).kind.name == "llvm"


@pytest.mark.parametrize("precision", LOWER)
def test_a_product_at_a_lower_precision_is_tuned_and_its_outputs_checked(bench: Bench, precision: str) -> None:
    target = make_target(local_target())
    if precision not in available(target):
        pytest.skip(f"this processor has no instructions for {precision}")
    job = bench.job(lowered(product(24, 128, 96), precision, target))
    row = bench.round(job, batch=4)
    found = bench.records(row)
    assert (row.state, row.measured, row.failed) == ("done", 4, 0)
    assert all(json.loads(record.trace)["kernel"] == "dot_blocks" for record in found)
    assert min(found, key=lambda record: record.mean_sec or 1.0).checked
