"""A recording holds what a search would never measure, and is a log like any other."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import tvm

from benchmarks import again, devices
from benchmarks.contest import Kernel, Task
from benchmarks.draws import Space
from benchmarks.recording import record, shares, table, varied
from benchmarks.replay import recordings_of
from tests.support import cpus
from tests.support.tuning import local_target, product, row_sums
from tuner.kernels import products, tiles
from tuner.kernels.context import Replay, candidate_id, make_target
from tuner.kernels.space import space_for
from tuner.kernels.workload import describe
from tuner.measuring.builder import BuildPool
from tuner.measuring.measure import DeviceAddress
from tuner.search.guess import guess


def kernel(mod: Any, name: str, weight_bytes: int | None = None) -> Kernel:
    found = describe(mod, name, 1)
    return Kernel(
        id=found.id,
        name=name,
        summary=found.summary,
        flops=found.flops,
        weight_bytes=found.weight_bytes if weight_bytes is None else weight_bytes,
        tir=found.tir,
        evaluator={},
    )


def space(mod: Any, cpu: dict[str, Any]) -> Space:
    return Space(str(tvm.ir.save_json(mod)), cpu)


def test_candidates_are_divided_without_a_rest() -> None:
    assert shares(200) == (50, 75, 75)
    assert all(sum(shares(count)) == count for count in range(1, 100))


def test_the_last_kernel_is_one_without_weights() -> None:
    gemms = [kernel(product(), name, weight_bytes=1) for name in ("a", "b", "c")]
    scores = [kernel(row_sums(), name, weight_bytes=0) for name in ("d", "e")]
    assert [one.name for one in varied([*gemms, *scores], 3)] == ["a", "b", "d"]
    assert [one.name for one in varied([gemms[0], scores[1], gemms[1]], 2)] == ["a", "e"]
    assert varied(gemms, 2) == gemms[:2]


@cpus.each
def test_tiles_are_drawn_from_all_there_are(cpu: dict[str, Any]) -> None:
    mod = product(64, 256, 512)
    found = products.find_product(mod)
    assert found is not None
    ranked = tiles.tiles(found, products.cpu_of(make_target(cpu)))
    drawn = [products.tile_of(trace) for trace in space(mod, cpu).tiles(24, seed=1).values()]
    places = [ranked.index(tile) for tile in drawn if tile is not None]
    assert len(places) == 24
    assert min(places) < len(ranked) / 3
    assert max(places) > len(ranked) * 2 / 3


@cpus.each
def test_what_is_drawn_is_distinct_and_can_be_made_again(cpu: dict[str, Any]) -> None:
    mod, target = row_sums(), make_target(cpu)
    assert space(mod, cpu).tiles(8, seed=1) == {}
    drawn = space(mod, cpu).sketches(8, seed=1)
    assert len(drawn) == 8
    replay = Replay(mod, target, space_for(target))
    assert [candidate_id(replay.schedule(trace)) for trace in drawn.values()] == list(drawn)
    assert space(mod, cpu).sketches(8, seed=1) == drawn
    assert set(space(mod, cpu).sketches(8, seed=2)) != set(drawn)


@cpus.each
def test_what_was_measured_already_is_not_drawn(cpu: dict[str, Any]) -> None:
    for drawn in (space(product(), cpu).tiles, space(row_sums(), cpu).sketches):
        first = drawn(8, seed=1)
        known = set(list(first)[::2])
        others = drawn(8, seed=1, known=known)
        assert len(others) == 8
        assert not known & set(others)
        assert set(first) - known <= set(others)


def test_a_recording_is_a_log_that_a_replay_reads(tmp_path: Path) -> None:
    out = tmp_path / "recording.jsonl.gz"
    kernels = [kernel(product(), "matmul"), kernel(row_sums(), "sums")]
    with devices.own_device(tmp_path, 1) as port:
        task = Task(kernels=kernels, target=local_target(), trials=12, tracker_port=port, device_key=devices.KEY)
        found = record(task, tmp_path, seed=1, out=out)
        assert found == recordings_of(out)
        times = timed_again(out, port, tmp_path / "again")
    assert {one.name: len(one.candidates) for one in found} == {"matmul": 12, "sums": 12}
    in_tiles = {one.name: sum(products.tile_of(c.trace) is not None for c in one.candidates.values()) for one in found}
    assert in_tiles == {"matmul": 3 + 4, "sums": 0}
    assert list(table(found).columns[1].cells) == ["12", "12"]
    before = {one.name: one.best_sec for one in found}
    guessed = guess(product(), make_target(local_target()))
    assert guessed is not None
    assert products.tile_of(guessed.trace) in times["matmul"]
    assert set(times) == set(before)
    assert any(len(secs) > 5 for secs in times["matmul"].values())  # those in turns


def timed_again(path: Path, port: int, folder: Path) -> dict[str, dict[Any, list[float]]]:
    """Times of a log's kernels by their decisions, once it was gone over."""
    device = DeviceAddress(devices.HOST, port, devices.KEY, 30.0, 60.0)
    with closing(BuildPool(1, 60.0)) as builders:
        again.go_over(path, folder, device, builders)
    return {
        one.name: {products.tile_of(c.trace) or c.id: c.run_secs for c in one.candidates.values()}
        for one in recordings_of(path)
    }
