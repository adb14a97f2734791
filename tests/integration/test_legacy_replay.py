"""Ansor's steps as schedules of ours: they compute the same, and become candidates that a search measures first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from sqlalchemy import Engine

from tests.support.rows import add_job
from tests.support.tiny_imports import local_target
from tuner.config import Settings
from tuner.db import records
from tuner.db.engine import read, write
from tuner.db.models import Job, Workload
from tuner.importers.operators import catalog, torch_side
from tuner.importers.operators.expressions import define
from tuner.kernels.context import Replay
from tuner.kernels.space import space_for
from tuner.kernels.workload import describe
from tuner.legacy import ansor, seeds, store
from tuner.legacy.replay import NotReplayable, replay, replayed
from tuner.legacy.transform import parse_steps
from tuner.search import shipped
from tuner.search.costmodel import make_cost_model
from tuner.search.session import SearchSession
from tuner.targets import presets

LOG = Path(__file__).parents[1] / "support" / "data" / "swish_gemm_m1_gpu.ansor.json"
METAL = {
    "kind": "metal",
    "max_num_threads": 1024,
    "max_threads_per_block": 1024,
    "max_shared_memory_per_block": 32768,
    "thread_warp_size": 32,
    "host": {"kind": "llvm"},
}
# What Ansor's rules for a CPU make of a product (SSRSRS) with an elementwise consumer, and without one.
TILE = [["SP", 2, 0, 16, [2, 4], 1], ["SP", 2, 3, 64, [2, 16], 1], ["SP", 2, 6, 24, [4], 1]]
FUSED = [
    ["CI", 4], ["CI", 3], *TILE, ["RE", 2, [0, 3, 1, 4, 6, 7, 2, 5]],
    ["FSP", 5, 0, 2, 2], ["FSP", 5, 3, 3, 2], ["RE", 5, [0, 3, 1, 4, 2, 5]], ["CA", 2, 5, 3],
    ["FU", 5, [0, 1, 2]], ["AN", 5, 0, 3], ["PR", 2, 0, "auto_unroll_max_step$16"], ["AN", 2, 7, 2], ["AN", 5, 3, 2],
]  # fmt: skip
PLAIN = [*TILE, ["RE", 2, [0, 3, 1, 4, 6, 7, 2, 5]], ["FU", 2, [0, 1]], ["AN", 2, 0, 3], ["AN", 2, 6, 2], ["CR", 2]]


def module(name: str) -> tuple[catalog.Operator, Any]:
    """An operator and its module."""
    operator = catalog.parse(name)
    return operator, tvm.IRModule({"main": define(operator).func})


def as_on_one_thread(mod: Any) -> Any:
    """A GPU's schedule as plain loops: each thread fills all of the memory that it would share."""
    lines = []
    for line in mod.script().replace('scope="shared"', 'scope="global"').splitlines():
        head, found, rest = line.partition("T.thread_binding(")
        lines.append(f"{head}T.serial({rest.split(',')[0]}):" if found else line)
    return tvm.script.from_source("\n".join(lines).replace('scope="local"', 'scope="global"'))


def check(operator: catalog.Operator, mod: Any) -> None:
    """Run a module and compare with PyTorch."""
    import torch

    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(shape, np.float32) for shape in operator.shapes[:-1]]
    out = tvm.runtime.empty(operator.shapes[-1], "float32")
    tvm.compile(mod, target="llvm")["main"](*map(tvm.runtime.tensor, inputs), out)
    wanted = torch_side.function(operator)(*map(torch.from_numpy, inputs)).numpy()
    np.testing.assert_allclose(out.numpy(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "steps"), [("op:swish_gemm:16,64,24", FUSED), ("op:gemm:16,64,24", PLAIN)])
def test_a_schedule_for_a_cpu_computes_the_operator(name: str, steps: list[Any]) -> None:
    operator, mod = module(name)
    schedule = replay(mod, parse_steps(steps))
    assert "T.parallel(" in schedule.mod.script()
    assert "T.vectorized(" in schedule.mod.script()
    check(operator, schedule.mod)


def test_a_consumer_is_computed_within_the_tiles_of_the_product() -> None:
    _, mod = module("op:swish_gemm:16,64,24")
    schedule = replay(mod, parse_steps(FUSED))
    product, consumer = (list(schedule.get_loops(schedule.get_sblock(name))) for name in ("c", "hard_swish"))
    assert schedule.get(product[1]).same_as(schedule.get(consumer[1]))


def test_a_schedule_for_a_gpu_computes_the_operator() -> None:
    """The best of the log, on a smaller problem that its tiles divide."""
    operator, mod = module("op:swish_gemm:128,96,48")
    best = min(
        (r for r in map(ansor.parse_line, LOG.read_bytes().splitlines()) if r.mean_sec), key=lambda r: r.mean_sec or 0
    )
    schedule = replay(mod, best.steps)
    text = schedule.mod.script()
    assert all(word in text for word in ("blockIdx.x", "threadIdx.x", 'scope="shared"'))
    check(operator, as_on_one_thread(schedule.mod))


def test_schedules_of_a_real_log_build_for_metal() -> None:
    _, mod = module("op:swish_gemm:128,3072,768")
    target = tvm.target.Target(METAL)
    fastest = sorted(
        (r for r in map(ansor.parse_line, LOG.read_bytes().splitlines()) if r.mean_sec), key=lambda r: r.mean_sec or 0
    )
    for record in fastest[:3]:
        built = tvm.tirx.build(replay(mod, record.steps).mod, target=target)
        assert "threadgroup float" in built.imports[0].inspect_source()


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([["RF", 2, 2, 0]], "no equal"),
        ([["CI", 0]], "a is not computed by itself"),
        ([["SP", 9, 0, 16, [2], 1]], "stage 9"),
        ([["AN", 2, 0, 11]], "instruction"),
        ([["PR", 2, 0, "double_buffer$1"]], "unknown pragma"),
        ([["FSP", 2, 0, 0, 1]], "no split"),
        ([["RE", 2, [0, 7]]], "Reorder of c"),
    ],
)
def test_what_can_not_be_replayed_says_which_step_and_why(steps: list[Any], says: str) -> None:
    _, mod = module("op:gemm:16,64,24")
    with pytest.raises(NotReplayable, match=says):
        replay(mod, parse_steps(steps))


def _log_line(name: str, args: list[int], steps: list[Any], seconds: float) -> bytes:
    inputs = [[json.dumps([name, *args]), "llvm -keys=cpu", []], [[], steps]]
    return json.dumps({"i": inputs, "r": [[seconds], 0, 1.0, 100], "v": "v0.6"}).encode()


def _job(engine: Engine, workload: Any, target: dict[str, Any]) -> Job:
    with write(engine) as session:
        row = Workload(id=workload.id, name="x", summary="x", flops=1.0, tir=workload.tir)
        records.put_workload(session, row)
        return add_job(session, target_json=target, target_family="here")


def _replay_all(mod: Any, target: dict[str, Any]) -> seeds.ReplayAll:
    """Replays in this process, as a build process does."""
    chip = tvm.target.Target(target)
    ours = Replay(mod, chip, space_for(chip))
    return lambda steps: [replayed(ours, one) for one in steps]


def test_a_job_measures_what_a_log_suggests_first(engine: Engine) -> None:
    operator, mod = module("op:swish_gemm:16,64,24")
    workload = describe(mod, "swish_gemm", 1)
    lines = [_log_line("swish_gemm", [16, 64, 24], steps, 1e-3) for steps in (FUSED, [["RF", 2, 2, 0]])]
    store.import_ansor(engine, enumerate(lines, 1))
    target = local_target()
    job = _job(engine, workload, target)
    seeded = seeds.bring_in(engine, job, operator, workload.id, _replay_all(mod, target))
    assert (seeded.seeds, seeded.obstacles.total()) == (1, 1)
    assert "1 could not be replayed" in seeded.message
    with read(engine) as session:
        (seed,) = records.seeds(session, workload.id, "here")
    search = SearchSession(workload.tir, tvm.target.Target(target), make_cost_model(1), batch=4, threads=1, seed=1)
    search.suggest([seed.trace])
    (first,) = search.propose(4)
    assert first.id == seed.candidate
    search.tell([(first, [1e-3])])
    assert first.id not in {proposal.id for proposal in search.propose(4)}
    again = seeds.bring_in(engine, job, operator, workload.id, _replay_all(mod, target))
    assert again.seeds == 0


def test_a_log_of_gpus_says_nothing_to_a_job_for_a_cpu(engine: Engine) -> None:
    operator, mod = module("op:swish_gemm:128,3072,768")
    workload = describe(mod, "swish_gemm", 1)
    store.import_ansor(engine, enumerate(LOG.read_bytes().splitlines(), 1))
    job = _job(engine, workload, local_target())
    assert seeds.bring_in(engine, job, operator, workload.id, _replay_all(mod, local_target())).message == ""
    with write(engine) as session:
        metal = add_job(session, target_json=METAL, target_family="there")
    on_metal = seeds.bring_in(engine, metal, operator, workload.id, _replay_all(mod, METAL))
    assert on_metal.seeds >= 10
    assert "schedules of an Ansor log" in on_metal.message


def test_a_log_of_an_m1_that_is_shipped_is_where_a_job_for_its_gpu_starts(engine: Engine, settings: Settings) -> None:
    operator, mod = module("op:swish_gemm:128,3072,768")
    workload = describe(mod, "swish_gemm", 1)
    target = presets.resolve("m1-metal", "local").tvm
    job = _job(engine, workload, target)
    for kinds, count in ((seeds.kinds_like("llvm"), 0), (seeds.kinds_like("metal"), 32), (("metal",), 32)):
        shipped.bring_in_of_ansor(engine, settings, "swish_gemm", kinds)
        with read(engine) as session:
            assert records.find(session, family="ansor-metal").total == count
    seeded = seeds.bring_in(engine, job, operator, workload.id, _replay_all(mod, target))
    assert seeded.seeds >= 20, seeded.message
