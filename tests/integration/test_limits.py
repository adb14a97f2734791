"""No schedule takes more of a threadgroup than the target has: not the search's, not a ready-made, not a custom one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tvm
from fastapi.testclient import TestClient
from tvm import te
from tvm.s_tir import Schedule

from tests.support.model_files import in_place
from tests.support.rows import make_record
from tuner.compiler.module import read_manifest
from tuner.config import Settings
from tuner.db.models import Job, JobWorkload, Record
from tuner.errors import LimitExceeded
from tuner.importers import cache
from tuner.importers.cache import Imported
from tuner.jobs.contenders import Contender
from tuner.jobs.contest import TUNED
from tuner.jobs.deliver import compile_job, staging
from tuner.jobs.from_records import Wanted, compile_known
from tuner.kernels.context import Replay, make_target, record_json, tuning_record
from tuner.kernels.defaults import default_schedule, schedule_by_default
from tuner.kernels.limits import excess, fits, memory_of, threads_of
from tuner.kernels.space import space_for
from tuner.kernels.workload import ExtractedWorkload, extract
from tuner.measuring.build_process import BuildJob, Built
from tuner.measuring.measure import DeviceAddress
from tuner.search.finals import Finals
from tuner.targets import presets

SIZE = 16384


def target(name: str) -> Any:
    return make_target(presets.resolve(name, "local").tvm)


def product(rows: int, columns: int, depth: int) -> Any:
    a, b = te.placeholder((rows, depth), name="a"), te.placeholder((depth, columns), name="b")
    k = te.reduce_axis((0, depth), "k")
    out = te.compute((rows, columns), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="out")
    return te.create_prim_func([a, b, out]).with_attr("global_symbol", "main")


def copy(size: int = SIZE) -> Any:
    a = te.placeholder((size,), name="a")
    func = te.create_prim_func([a, te.compute((size,), lambda i: a[i] + 1.0, name="out")])
    return tvm.IRModule({"main": func.with_attr("global_symbol", "main")})


def staged(groups: int, threads: int) -> Any:
    """A schedule of ``copy`` that brings a group's part of the input into threadgroup memory first."""
    schedule = Schedule(copy())
    block = schedule.get_sblock("out")
    group, thread, _ = schedule.split(*schedule.get_loops(block), [groups, threads, None])
    schedule.bind(group, "blockIdx.x")
    schedule.bind(thread, "threadIdx.x")
    read = schedule.cache_read(block, 0, "shared")
    schedule.compute_at(read, group)
    loader, _ = schedule.split(schedule.get_loops(read)[-1], [threads, None])
    schedule.bind(loader, "threadIdx.x")
    return schedule


def test_what_a_kernel_takes_is_counted_for_one_threadgroup() -> None:
    func = staged(groups=4, threads=256).mod["main"]
    assert (threads_of(func), memory_of(func)) == (256, SIZE // 4 * 4)
    assert (threads_of(copy()["main"]), memory_of(copy()["main"])) == (1, 0)


@pytest.mark.parametrize(
    ("name", "groups", "threads", "wish"),
    [
        ("m1-metal", 4, 1024, ""),
        ("m1-metal", 2, 256, ""),
        ("m1-metal", 1, 256, "65536 bytes of threadgroup memory, the target has 32768"),
        ("m1-metal", 8, 2048, "2048 threads in a threadgroup, the target has 1024"),
        ("m1-metal-restricted", 8, 512, "512 threads in a threadgroup, the target has 256"),
    ],
)
def test_threads_and_memory_beyond_the_target_are_named(name: str, groups: int, threads: int, wish: str) -> None:
    schedule = staged(groups, threads)
    assert excess(schedule.mod["main"], target(name)) == wish
    replay = Replay(copy(), target(name), space_for(target(name)))
    assert (replay.post_process(schedule) is None) == bool(wish)  # candidates of the search are held to the same


def test_no_default_schedule_is_beyond_its_target() -> None:
    func = product(1, 768, 768)  # DLight gives it 512 threads
    assert threads_of(default_schedule(func, target("m1-metal"))) == 512
    assert threads_of(default_schedule(func, target("m1-metal-restricted"))) <= 256
    assert fits(default_schedule(product(128, 768, 768), target("m1-metal")), target("m1-metal"))


@pytest.mark.parametrize(("groups", "threads", "wish"), [(8, 512, "512 threads"), (1, 64, "65536 bytes")])
def test_a_custom_schedule_beyond_the_target_is_refused_by_name(groups: int, threads: int, wish: str) -> None:
    custom = staged(groups, threads).mod["main"].with_attr("tirx.is_scheduled", True)
    with pytest.raises(LimitExceeded, match=f"mine wants {wish}") as caught:
        schedule_by_default(tvm.IRModule({"mine": custom}), target("m1-metal-restricted"))
    assert "target" in caught.value.hint


def _refusal_of(client: TestClient, func: Any) -> dict[str, str]:
    """The error that answers whoever sends ``func`` as an operator."""
    answer = client.post("/v1/operators", json={"name": "mine", "tir": str(tvm.ir.save_json(func))})
    assert answer.status_code == 422
    return answer.json()["error"]


@pytest.mark.parametrize("threads", [2048, 256])
def test_an_operator_that_comes_bound_to_threads_is_refused_in_plain_words(client: TestClient, threads: int) -> None:
    error = _refusal_of(client, staged(8, threads).mod["main"])
    assert (error["code"], "bound to threads already" in error["message"]) == ("model_invalid", True)
    assert error["hint"]


def test_an_operator_without_blocks_is_refused_in_plain_words(client: TestClient) -> None:
    lowered = tvm.s_tir.transform.LowerOpaqueBlock()(tvm.s_tir.transform.ConvertBlocksToOpaque()(copy()))["main"]
    error = _refusal_of(client, lowered)
    assert error["code"] == "model_invalid"
    assert "holds no blocks" in error["message"]


def _greedy(mod: Any, gpu: Any) -> str:
    """A record that gives each of 2048 results a thread of one group."""
    schedule = Schedule(mod)
    (block,) = schedule.get_child_blocks(schedule.get_sblock("root"))
    rows, columns, _ = schedule.get_loops(block)
    group, thread = schedule.split(schedule.fuse(rows, columns), [1, None])
    schedule.bind(group, "blockIdx.x")
    schedule.bind(thread, "threadIdx.x")
    replay = Replay(mod, gpu, space_for(gpu))
    return record_json(tuning_record(schedule.trace, replay.workload, None, gpu, replay.candidate(schedule).args_info))


def _damaged(mod: Any, gpu: Any) -> str:
    return "[]"


UNUSABLE = pytest.mark.parametrize(
    ("trace", "why"),
    [
        (_greedy, "it wants 2048 threads in a threadgroup, the target has 1024"),
        (_damaged, "no schedule of this release's search space"),
    ],
)


@dataclass(frozen=True)
class Operator:
    """A small product, imported as jobs on an M1's GPU have it, and an unusable record of it."""

    imported: Imported
    target: dict[str, Any]
    workload: ExtractedWorkload
    record: Record


@pytest.fixture
def operator(settings: Settings, trace: Callable[[Any, Any], str]) -> Operator:
    imported = cache.import_source(in_place("op:gemm:32,64,64"), cache.Shape(1, 1), settings.imports_dir)
    description = presets.resolve("m1-metal", "local").tvm
    gpu = make_target(description)
    (one,) = extract(cache.load_module(settings.imports_dir, imported), gpu)
    return Operator(imported, description, one, make_record("c0ffee", 1e-6, trace=trace(one.mod, gpu)))


def _names_the_record(manifest: dict[str, Any], why: str) -> bool:
    (reason,) = manifest["left_out"]
    return "c0ffee" in reason and why in reason and (manifest["records"], manifest["coverage"]) == (0, 0.0)


@UNUSABLE
def test_a_record_that_can_not_be_used_is_left_out_and_said(
    operator: Operator, settings: Settings, tmp_path: Path, why: str
) -> None:
    wanted = Wanted(operator.imported, 1, 1, operator.target)
    kernels = [(1, operator.workload.as_row())]
    known = {operator.workload.id: operator.record}
    compile_known(settings.imports_dir, wanted, kernels, known, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert _names_the_record(manifest, why)
    assert manifest["load_check"] == "symbols"


class NoBuilds:
    """Builds nothing, so that nothing is measured."""

    def build(self, wanted: Sequence[BuildJob]) -> list[Built]:
        return []


@UNUSABLE
def test_a_record_that_finals_can_not_use_is_said_in_the_same_words(
    operator: Operator, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr("tuner.search.finals.measure", lambda *_: None)
    one, job = operator.workload, Job(id="job-1", model_id="mdl-1", target="m1-metal", target_json=operator.target)
    finals = Finals(DeviceAddress("", 0, "m1-metal", 1.0, 1.0), NoBuilds(), operator.target, tmp_path)
    final = finals.decide(one.id, one.tir, one.weight_bytes, [operator.record])
    assert (final.winner, final.plain) == (None, None)
    rows = [(JobWorkload(job_id=job.id, workload_id=one.id, weight=1), one.as_row())]
    compile_job(settings, job, operator.imported, [Contender("fp32", rows, 0.0)], {one.id: final}, None, {})
    assert _names_the_record(read_manifest(staging(settings, job.id) / TUNED), why)
