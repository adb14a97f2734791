"""The parts of a round on their own: measuring, the check of outputs, the finals, learning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from sqlalchemy import Engine
from tvm import s_tir, te, tirx

from rpc.errors import DeviceUnavailable
from tests.support import cpus
from tests.support.processes import free_port, kill_hard, patience, wait_until
from tests.support.rpc_device import agent_process, free, tracker_process
from tests.support.tiny_imports import local_target
from tests.support.tuning import SabotagedBuilds, device, hang, product, row_sums, segfault, slow, wrong
from tuner.db.models import Job, Record
from tuner.kernels import ready_made
from tuner.kernels.context import built_arguments, make_target
from tuner.kernels.fallback import plain_schedule
from tuner.kernels.workload import buffers_of, describe
from tuner.measuring import measure as measuring
from tuner.measuring.build_process import BuildJob, Built
from tuner.measuring.builder import BuildPool
from tuner.measuring.canary import Canaries, Canary
from tuner.measuring.measure import Measured, Probe, measure, session_sec
from tuner.measuring.outputs import OutputCheck
from tuner.measuring.repeats import Repeats
from tuner.search.costmodel import make_cost_model
from tuner.search.finals import Finals
from tuner.search.guess import guess
from tuner.search.remembered import Remembered
from tuner.search.session import Proposal, SearchSession

TARGET = json.dumps(local_target())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    number = free_port()
    with tracker_process(number), agent_process(number):
        yield number


@pytest.fixture(scope="module")
def builders() -> Iterator[BuildPool]:
    pool = BuildPool(workers=1, timeout_sec=patience(20))
    yield pool
    pool.close()


def build_job(mod: Any, path: Path, rewritten: bool = True) -> BuildJob:
    return BuildJob(str(tvm.ir.save_json(mod)), TARGET, str(path), rewritten)


def searching(mod: Any, cpu: dict[str, Any], model: Any = None, seed: int = 1) -> SearchSession:
    tir = str(tvm.ir.save_json(mod))
    return SearchSession(tir, make_target(cpu), model or make_cost_model(1), batch=16, threads=1, seed=seed)


def session(mod: Any) -> SearchSession:
    """For this machine: what it proposes can be run."""
    return searching(mod, local_target())


def outcomes(port: int, probes: list[Probe], **options: Any) -> dict[int, Measured]:
    found: dict[int, Measured] = {}

    def keep(probe: Probe, result: Measured) -> None:
        assert probe.number not in found, "told twice"
        found[probe.number] = result

    known = {"cold_weights": False, "time_canary": None, "best_sec": None, **options}
    measure(device(port), probes, on_result=keep, **known)
    return found


def test_harmful_libraries_among_good_ones_cost_only_themselves(
    port: int, builders: BuildPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mod = product(8, 16, 32)
    jobs = [build_job(mod, tmp_path / f"{number}.so") for number in range(5)]
    jobs[1], jobs[3] = segfault(jobs[1]), hang(jobs[3])
    arguments = buffers_of(mod["main"])
    made = [Probe(n, built.path, arguments) for n, built in enumerate(builders.build(jobs))]
    (tmp_path / "9.so").write_bytes(b"no library")  # an error that leaves the session alive
    probes = [made[0], made[1], made[3], Probe(9, str(tmp_path / "9.so"), arguments), made[2], made[4]]
    monkeypatch.setattr(measuring, "session_sec", lambda _, left, __: 6.0 if left == 4 else patience(20))
    found = outcomes(port, probes)
    assert {n: result.error_class for n, result in found.items()} == {
        0: "", 1: "crash", 3: "timeout", 9: "run", 2: "", 4: "",
    }  # fmt: skip
    assert list(found)[-1] == 1, "it was tried again among others"
    assert all((result.seconds is None) == bool(result.error_class) for result in found.values())
    wait_until(lambda: free(port), 5)


def test_candidate_on_a_device_that_is_killed_is_measured_on_its_successor(builders: BuildPool, tmp_path: Path) -> None:
    mod, number = product(8, 16, 32), free_port()
    arguments = buffers_of(mod["main"])
    jobs = [build_job(mod, tmp_path / f"{n}.so") for n in range(3)]
    probes = [Probe(n, built.path, arguments) for n, built in enumerate(builders.build(jobs))]
    found: list[tuple[int, str]] = []
    with tracker_process(number), agent_process(number) as agent, ExitStack() as stack:

        def keep(probe: Probe, result: Measured) -> None:
            found.append((probe.number, result.error_class))
            if len(found) == 1:
                kill_hard(agent.pid)
                stack.enter_context(agent_process(number))

        measure(device(number), probes, False, None, None, keep)
    assert found == [(0, ""), (2, ""), (1, "")]


def test_canary_is_the_same_kernel_here_and_over_rpc(port: int, builders: BuildPool, tmp_path: Path) -> None:
    canaries = Canaries(tmp_path, builders)
    job = Job(model_id="m", target="local", target_json=local_target(), target_family="family", batch=1, seq_len=8)
    on_gpu = Job(model_id="m", target="gpu", target_json={"kind": "cuda"}, target_family="gpu", batch=1, seq_len=8)
    path, timer = canaries.library(job), canaries.timer(job)
    assert path is not None
    assert timer is not None
    with device(port).lease() as remote:
        assert 0 < timer(remote) < 1
    canary = Canary(tvm.rpc.LocalSession(), path)
    assert 0 < canary.seconds() < 1
    assert canaries.timer(on_gpu) is None


def test_canary_of_another_worker_is_whole_while_this_one_builds_it(tmp_path: Path) -> None:
    shared = tmp_path / "family.so"
    shared.write_bytes(b"whole")

    class Builds:
        def build(self, jobs: list[BuildJob]) -> list[Built]:
            (job,) = jobs
            Path(job.path).write_bytes(b"half")
            assert shared.read_bytes() == b"whole"
            Path(job.path).write_bytes(b"new")
            return [Built(path=job.path)]

    job = Job(model_id="m", target="local", target_json=local_target(), target_family="family", batch=1, seq_len=8)
    assert Canaries(tmp_path, Builds()).library(job) == str(shared)  # type: ignore[arg-type]
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("family.so", b"new")]


def test_candidate_that_finds_the_time_used_up_is_not_blamed(
    port: int, builders: BuildPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes more than half a second, all of them more than the session has. One that takes half of that time, on
    a machine that stands still just then, is rightly said to hang: so there are some tries."""
    mod = product(8, 16, 32)
    jobs = [slow(build_job(mod, tmp_path / f"{n}.so"), 0.1) for n in range(8)]
    probes = [Probe(n, built.path, buffers_of(mod["main"])) for n, built in enumerate(builders.build(jobs))]
    monkeypatch.setattr(measuring, "session_sec", lambda _, left, __: 4.0 if left == 8 else patience(20))

    def is_as_it_should() -> bool:
        found = outcomes(port, probes)
        return list(found) != list(range(8)) and [found[n].error_class for n in range(8)] == [""] * 8

    assert any(is_as_it_should() for _ in range(3))


@pytest.mark.parametrize(
    ("probes", "best_sec", "at_least", "at_most"),
    [(16, None, 120, 120), (1, 1e-3, 20, 25), (16, 1e-3, 40, 60), (16, 0.1, 120, 120)],
)
def test_session_is_no_longer_than_its_work_may_take(
    probes: int, best_sec: float | None, at_least: float, at_most: float
) -> None:
    assert at_least <= session_sec(device(1, session_timeout_sec=120.0), probes, best_sec) <= at_most


def test_hopeless_candidate_gets_a_short_look(port: int, builders: BuildPool, tmp_path: Path) -> None:
    mod = product(8, 16, 32)
    (built,) = builders.build([build_job(mod, tmp_path / "one.so")])
    probe = Probe(0, built.path, buffers_of(mod["main"]))
    full = outcomes(port, [probe])[0]
    short = outcomes(port, [probe], best_sec=1e-12)[0]
    assert len(short.run_secs) < len(full.run_secs)


def test_integer_arguments_index_nothing_wild(port: int, builders: BuildPool, tmp_path: Path) -> None:
    table, ids = te.placeholder((7, 16), name="table"), te.placeholder((5,), "int32", name="ids")
    rows = te.compute((5, 16), lambda i, j: table[ids[i], j], name="rows")
    mod = tvm.IRModule({"main": te.create_prim_func([table, ids, rows]).with_attr("global_symbol", "main")})
    (built,) = builders.build([build_job(mod, tmp_path / "take.so")])
    assert outcomes(port, [Probe(0, built.path, buffers_of(mod["main"]))])[0].seconds


@pytest.mark.parametrize("cold_weights", [False, True])
def test_a_candidate_is_timed_as_often_as_was_asked_for(
    port: int, builders: BuildPool, tmp_path: Path, cold_weights: bool
) -> None:
    mod = product(8, 16, 32)
    (built,) = builders.build([build_job(mod, tmp_path / "few.so")])
    probe = Probe(0, built.path, buffers_of(mod["main"]))
    for count in (1, 2, 7):
        found = outcomes(port, [probe], wanted=Repeats(count, min_ms=1), cold_weights=cold_weights)[0]
        assert (len(found.run_secs), found.error) == (count, "")


def test_nothing_is_told_when_the_device_does_not_come(port: int) -> None:
    absent = device(free_port())
    with pytest.raises(DeviceUnavailable):
        measure(
            type(absent)(absent.tracker_host, absent.tracker_port, "local", 0.5, 5.0),
            [Probe(0, "nowhere.so", [])],
            False,
            None,
            None,
            lambda probe, result: pytest.fail("told"),
        )


@pytest.fixture(scope="module")
def small() -> Any:
    return product(8, 16, 32)


@pytest.fixture(scope="module")
def proposals(small: Any) -> list[Proposal]:
    return list(session(small).propose(2))


@pytest.fixture(scope="module")
def check(small: Any, port: int, builders: BuildPool, tmp_path_factory: pytest.TempPathFactory) -> OutputCheck:
    return OutputCheck(small, TARGET, device(port), builders, tmp_path_factory.mktemp("reference"))


def spoilt(proposal: Proposal, tir: str) -> Proposal:
    return Proposal("spoilt", tir, proposal.trace, proposal.arguments, proposal.candidate)


def test_right_candidates_pass(check: OutputCheck, proposals: list[Proposal], tmp_path: Path) -> None:
    assert [check.problem_of(proposal, tmp_path) for proposal in proposals] == [None, None]


def test_one_wrong_value_is_told(check: OutputCheck, proposals: list[Proposal], tmp_path: Path) -> None:
    tir = wrong(BuildJob(proposals[0].tir, TARGET, "")).tir
    assert "off by" in str(check.problem_of(spoilt(proposals[0], tir), tmp_path))


def test_another_function_is_told(check: OutputCheck, proposals: list[Proposal], tmp_path: Path) -> None:
    a, b = te.placeholder((8, 16), name="a"), te.placeholder((16, 32), name="b")
    k = te.reduce_axis((0, 16), "k")
    no_relu = te.compute((8, 32), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="product")
    other = tvm.IRModule({"main": te.create_prim_func([a, b, no_relu]).with_attr("global_symbol", "main")})
    assert "off by" in str(check.problem_of(spoilt(proposals[0], str(tvm.ir.save_json(other))), tmp_path))


def test_nan_is_told(check: OutputCheck, proposals: list[Proposal], tmp_path: Path) -> None:
    a, b = te.placeholder((8, 16), name="a"), te.placeholder((16, 32), name="b")
    nan = te.compute((8, 32), lambda i, j: te.sqrt(-a[i, 0] * a[i, 0] - b[0, j] * b[0, j]), name="nan")
    other = tvm.IRModule({"main": te.create_prim_func([a, b, nan]).with_attr("global_symbol", "main")})
    assert "NaN" in str(check.problem_of(spoilt(proposals[0], str(tvm.ir.save_json(other))), tmp_path))


def test_candidate_that_crashes_in_the_check_is_told(
    check: OutputCheck, proposals: list[Proposal], tmp_path: Path
) -> None:
    tir = segfault(BuildJob(proposals[0].tir, TARGET, "")).tir
    assert "ends the device's session" in str(check.problem_of(spoilt(proposals[0], tir), tmp_path))


def test_candidate_that_does_not_build_for_the_check_is_told(
    check: OutputCheck, proposals: list[Proposal], tmp_path: Path
) -> None:
    assert "does not build" in str(check.problem_of(spoilt(proposals[0], "{}"), tmp_path))


def test_candidate_that_fails_in_the_check_is_told(
    check: OutputCheck, proposals: list[Proposal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check.expected
    (tmp_path / "no-library.so").write_bytes(b"nothing")
    monkeypatch.setattr(check, "_build", lambda *_: Built(path=str(tmp_path / "no-library.so")))
    assert "fails when its outputs are checked" in str(check.problem_of(proposals[0], tmp_path))


def test_what_outputs_are_compared_with_leaves_no_library_behind(check: OutputCheck) -> None:
    assert check.expected
    assert list(check._folder.iterdir()) == []


@pytest.fixture(scope="module")
def large() -> Any:
    return product(64, 256, 512)


@pytest.fixture(scope="module")
def known(large: Any) -> list[Record]:
    """Two records of it, as fast as each other by what they say."""
    return [
        Record(workload_id="wl-1", target_family="f", candidate=proposal.id, trace=proposal.trace, mean_sec=1e-4)
        for proposal in session(large).propose(2)
    ]


@pytest.fixture
def finals(port: int, builders: BuildPool, tmp_path: Path) -> Finals:
    return Finals(device(port), builders, local_target(), tmp_path / "finals")


def as_checked(record: Record) -> Record:
    return Record(**{**record.model_dump(), "checked": True})


def with_a_slow_one(finals: Finals, number: int) -> Finals:
    """The same, but the candidate at this place from 1 on, or the plain schedule (0), takes 50 ms longer."""
    builds = SabotagedBuilds(
        finals._builders, lambda job: job.path.endswith(f"-{number}.so"), lambda job: slow(job, 0.05)
    )
    finals._builders = builds  # type: ignore[assignment]
    return finals


def test_a_kernel_without_a_record_is_guessed_and_the_guess_is_measured(finals: Finals, large: Any) -> None:
    final = with_a_slow_one(finals, 0).decide("wl-1", str(tvm.ir.save_json(large)), 0, [])
    assert final.winner is not None
    assert final.winner.record is None
    found = guess(large, make_target(local_target()))
    assert found is not None
    assert (final.winner.trace, final.winner.name) == (found.trace, found.name)


@pytest.mark.parametrize("slow_place", [1, 2])
def test_the_faster_of_two_wins_whatever_the_order(
    finals: Finals, large: Any, known: list[Record], slow_place: int
) -> None:
    final = with_a_slow_one(finals, slow_place).decide("wl-1", str(tvm.ir.save_json(large)), 0, known)
    assert final.winner is not None
    assert final.plain is not None
    assert final.winner.record is not known[slow_place - 1]
    if final.winner.record is None:
        assert final.winner.seconds == final.plain.seconds
    else:
        assert final.winner.seconds <= final.plain.seconds


def test_measured_seconds_of_the_past_do_not_count(finals: Finals, large: Any, known: list[Record]) -> None:
    lucky = Record(**{**known[0].model_dump(), "mean_sec": 1e-9, "run_secs": [1e-9]})
    final = with_a_slow_one(finals, 1).decide("wl-1", str(tvm.ir.save_json(large)), 0, [lucky, known[1]])
    assert final.winner is not None
    assert final.winner.record is not lucky
    assert final.winner.seconds > 1e-7


def test_what_fails_once_does_not_win(
    finals: Finals, large: Any, known: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[list[int]] = []

    def measure(_device: Any, probes: list[Probe], _cold: Any, _canary: Any, _best: Any, tell: Any, *_: Any) -> None:
        rounds.append([probe.number for probe in probes])
        for probe in probes:
            crashes = probe.number == 1 and len(rounds) == 2
            seconds = 1e-3 if probe.number == 1 else 1.5e-3
            tell(probe, Measured(error_class="crash") if crashes else Measured(run_secs=[seconds]))

    monkeypatch.setattr("tuner.search.finals.measure", measure)
    final = finals.decide("wl-1", str(tvm.ir.save_json(large)), 0, [known[0]])
    assert rounds == [[1, 0], [1, 0], [0]]
    assert final.winner is not None
    assert final.winner.record is None
    assert final.winner.run_secs == [1.5e-3] * 3


def test_who_is_far_behind_is_not_timed_again(
    finals: Finals, large: Any, known: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[list[int]] = []

    def measure(_device: Any, probes: list[Probe], _cold: Any, _canary: Any, _best: Any, tell: Any, *_: Any) -> None:
        rounds.append([probe.number for probe in probes])
        for probe in probes:
            tell(probe, Measured(run_secs=[{0: 2.1e-3, 1: 1.9e-3, 2: 1e-3}[probe.number]]))

    monkeypatch.setattr("tuner.search.finals.measure", measure)
    final = finals.decide("wl-1", str(tvm.ir.save_json(large)), 0, [as_checked(one) for one in known])
    assert rounds == [[2, 1, 0], [2, 1], [2, 1]]
    assert final.winner is not None
    assert final.winner.run_secs == [1e-3] * 3
    assert final.plain is not None
    assert final.plain.run_secs == [2.1e-3]


@pytest.mark.parametrize(("checked", "problem"), [(False, "off by 1"), (False, None), (True, "not asked")])
def test_record_that_nobody_checked_must_compute_what_the_workload_says(
    finals: Finals,
    large: Any,
    known: list[Record],
    monkeypatch: pytest.MonkeyPatch,
    checked: bool,
    problem: str | None,
) -> None:
    asked: list[str] = []

    def problem_of(_: OutputCheck, candidate: Any, folder: Path) -> str | None:
        asked.append(candidate.id)
        return problem

    monkeypatch.setattr(OutputCheck, "problem_of", problem_of)
    monkeypatch.setattr(
        "tuner.search.entrants.default_schedule", lambda func, target: func
    )  # far slower than any record
    fastest = Record(**{**known[0].model_dump(), "checked": checked})
    final = with_a_slow_one(finals, 0).decide("wl-1", str(tvm.ir.save_json(large)), 0, [fastest])
    assert asked == ([] if checked else [fastest.candidate])
    assert final.checked == (() if checked else ((fastest, problem),))
    assert final.winner is not None
    assert (final.winner.record is fastest) is (checked or problem is None)


def test_without_records_or_a_guess_the_plain_schedule_wins(
    finals: Finals, large: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.search.entrants.guess", lambda *_: None)
    final = finals.decide("wl-1", str(tvm.ir.save_json(large)), 0, [])
    assert final.winner is not None
    assert final.winner.record is None
    assert final.winner == final.plain


def test_an_untuned_time_is_the_plain_schedules_though_a_ready_made_one_is_faster(
    finals: Finals, large: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = tvm.IRModule({"main": plain_schedule(large["main"])})
    monkeypatch.setattr("tuner.search.entrants.guess", lambda *_: None)
    monkeypatch.setattr(ready_made, "names", lambda target: ("mine",))
    monkeypatch.setattr(ready_made, "schedule", lambda name, mod, target: s_tir.Schedule(fast))
    monkeypatch.setattr("tuner.search.entrants.default_schedule", lambda func, target: func)  # far slower than plain
    tir = str(tvm.ir.save_json(large))
    with_a_slow_one(finals, 0)
    (untuned_sec,) = finals.time_plain([describe(large, "large", 1)]).values()
    final = finals.decide("wl-1", tir, 0, [])
    assert final.winner is not None
    assert final.winner.ready_made == "mine"
    assert untuned_sec > 1.5 * final.winner.seconds


@pytest.mark.parametrize(("weight_bytes", "is_cold"), [(3072, False), (2**20, True)])
def test_a_kernel_is_timed_where_its_predecessor_leaves_its_inputs(
    finals: Finals, large: Any, monkeypatch: pytest.MonkeyPatch, weight_bytes: int, is_cold: bool
) -> None:
    seen: list[bool] = []

    def timed(_: Any, probes: list[Probe], cold: bool, *rest: Any) -> None:
        assert cold is is_cold
        seen.extend(probe.placing is not None for probe in probes)
        for probe in probes:
            rest[2](probe, Measured([1e-3]))

    monkeypatch.setattr("tuner.search.finals.measure", timed)
    assert finals.decide("wl-1", str(tvm.ir.save_json(large)), weight_bytes, []).winner is not None
    assert set(seen) == {True}


def test_finals_of_the_same_kernels_are_timed_once(
    port: int, builders: BuildPool, large: Any, known: list[Record], tmp_path: Path, engine: Engine
) -> None:
    tir, workload = str(tvm.ir.save_json(large)), describe(large, "large", 1)

    def finals(builds: Any) -> Finals:
        folder = tmp_path / "finals"
        return Finals(device(port), builds, local_target(), folder, remembered=Remembered(engine, "local"))

    first, again = finals(builders), finals(NoBuilds())
    right = [as_checked(record) for record in known]
    decided = first.decide("wl-1", tir, 0, right)
    assert again.decide("wl-1", tir, 0, right[::-1]) == decided
    assert first.time_plain([workload]) == again.time_plain([workload])
    with pytest.raises(AssertionError, match="asked to build"):
        again.decide("wl-1", tir, 0, right[:1])


class NoBuilds:
    def build(self, jobs: Any) -> Any:
        asked = list(jobs)
        assert not asked, f"asked to build {len(asked)}"
        return asked


def zeros(like: Any) -> Any:
    """As fast as can be, and wrong."""
    *inputs, (shape, dtype) = buffers_of(like["main"])
    tensors = [te.placeholder(each, name=f"in{n}") for n, (each, _) in enumerate(inputs)]
    nothing = te.compute(shape, lambda *_: tirx.const(0, dtype), name="nothing")
    return tvm.IRModule({"main": te.create_prim_func([*tensors, nothing]).with_attr("global_symbol", "main")})


@pytest.mark.parametrize("right", [True, False])
def test_ready_made_winner_must_compute_what_the_workload_says(
    finals: Finals, large: Any, right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tvm.IRModule({"main": plain_schedule(large["main"])}) if right else zeros(large)
    monkeypatch.setattr("tuner.search.entrants.guess", lambda *_: None)
    monkeypatch.setattr(ready_made, "names", lambda target: ("mine",))
    monkeypatch.setattr(ready_made, "schedule", lambda name, mod, target: s_tir.Schedule(made))
    monkeypatch.setattr("tuner.search.entrants.default_schedule", lambda func, target: func)  # far slower than plain
    final = with_a_slow_one(finals, 0).decide("wl-1", str(tvm.ir.save_json(large)), 0, [])
    assert final.winner is not None
    assert final.winner.ready_made == ("mine" if right else "")


def test_what_a_gpu_must_give_is_computed_by_its_host(
    port: int, builders: BuildPool, small: Any, tmp_path: Path
) -> None:
    target = json.dumps({"kind": "metal", "max_threads_per_block": 64, "host": local_target()})
    gpu = replace(device(port), kind="metal")
    check = OutputCheck(small, target, gpu, builders, tmp_path)
    for kind, (result,) in check.expected.items():
        a, b = (given.values() for given in check.inputs[kind].values())
        np.testing.assert_allclose(result, np.maximum(a @ b, 0), rtol=1e-4, atol=1e-4 * max(1.0, np.abs(result).max()))


@cpus.each
def test_cost_model_ranks_what_it_learnt(cpu: dict[str, Any]) -> None:
    """From record JSON alone, as after a restart; of tiles of all sizes."""
    mod = product(64, 128, 256)
    search = searching(mod, cpu)
    waiting = search._tiled._waiting
    waiting[:] = waiting[:: len(waiting) // 64]
    proposals = list(search.propose(64))
    assert len({p.id for p in proposals}) == len(proposals) == 64
    cost = [p.tile.rows * p.tile.vectors for p in proposals if p.tile]
    model = make_cost_model(1)
    fresh = searching(mod, cpu, model, seed=2)
    fresh.learn([(p.id, p.trace, [units * 1e-5]) for p, units in zip(proposals, cost, strict=True)])
    fresh._evolution.fit(fresh._lessons)
    scores = model.predict(fresh._evolution.context, [p.candidate for p in proposals])
    ranks = np.argsort(np.argsort(scores))
    assert np.corrcoef(ranks, -np.array(cost))[0, 1] > 0.5


@cpus.each
def test_record_of_another_space_is_passed_over(cpu: dict[str, Any]) -> None:
    """A release with other rules must not stumble over old records."""
    mod = product(8, 16, 32)
    (proposal, *_) = searching(product(8, 16, 64), cpu).propose(1)
    fresh = searching(mod, cpu)
    fresh.learn([(proposal.id, proposal.trace, [1e-5])])
    assert list(fresh.propose(2))


def _with_a_decision_too_many(record: Any) -> None:
    instructions, decisions = record[0]
    decisions.append([len(instructions), 0])


def _with_a_null(record: Any) -> None:
    record[0][1][-1][1] = None


def _of_one_list(record: Any) -> None:
    del record[1:]


@pytest.mark.usefixtures("few_at_once")
def test_damaged_records_are_passed_over() -> None:
    """TVM reads some of them without a look: they would end the process."""
    mod, cpu = row_sums(), cpus.target("x86-64-v3")
    whole = list(searching(mod, cpu).propose(8))
    records = [json.loads(proposal.trace) for proposal in whole]
    for record, damage in zip(records[1:], cycle([_with_a_decision_too_many, _with_a_null, _of_one_list])):
        damage(record)
    traces = [json.dumps(record) for record in records]
    fresh = searching(mod, cpu)
    fresh.learn([(str(number), trace, [1e-5]) for number, trace in enumerate(traces)])
    assert list(fresh.propose(2))
    assert [fresh._replay.schedule(trace) is not None for trace in traces] == [True] + [False] * 7


@cpus.each
def test_arguments_of_a_library_are_those_of_its_layout(cpu: dict[str, Any]) -> None:
    (proposal, *_) = searching(product(16, 32, 64), cpu).propose(1)
    candidate = tvm.ir.load_json(proposal.tir)
    shapes = [shape for shape, _ in built_arguments(candidate)]
    assert shapes[0] == (16, 32)
    assert np.prod(shapes[1]) == 32 * 64
