"""Tiles that a product's search takes over from other products: read back from records, and tried first."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tvm
from tvm import te

from tests.support import cpus
from tests.support.tuning import product, row_sums
from tuner.kernels import products, tiles
from tuner.kernels.context import make_target, record_json, tuning_record
from tuner.kernels.products import tile_of
from tuner.kernels.tiles import Cpu, Product, Tile
from tuner.kernels.workload import module_from_json
from tuner.measuring.questions import ProductIn
from tuner.search import transfer
from tuner.search.costmodel import make_cost_model
from tuner.search.session import Proposal, SearchSession
from tuner.search.tiled import relatives_among
from tuner.search.transfer import Kernel, Relative

# Of two cores of an AMD EPYC (Zen 5), before there was prefetching.
LOGS = Path(__file__).parents[1] / "support" / "data" / "records"
CPU = Cpu(lanes=16, registers=32, cores=2)


def heads(batch: int = 2, rows: int = 16, depth: int = 256, columns: int = 64) -> Any:
    """A product of two activations for each of a batch, as attention has them."""
    a, b = te.placeholder((batch, rows, depth), name="a"), te.placeholder((batch, depth, columns), name="b")
    k = te.reduce_axis((0, depth), "k")
    out = te.compute((batch, rows, columns), lambda h, i, j: te.sum(a[h, i, k] * b[h, k, j], axis=k), name="product")
    return tvm.IRModule({"main": te.create_prim_func([a, b, out]).with_attr("global_symbol", "main")})


def found_in(mod: Any) -> Product:
    found = products.find_product(mod)
    assert found is not None
    return found


def record_of(mod: Any, schedule: Any, cpu: dict[str, Any]) -> str:
    workload = tvm.s_tir.meta_schedule.database.Workload(mod)
    return record_json(tuning_record(schedule.trace, workload, [1.0], make_target(cpu), None))


def session(mod: Any, cpu: dict[str, Any]) -> SearchSession:
    tir = str(tvm.ir.save_json(mod))
    return SearchSession(tir, make_target(cpu), make_cost_model(1), batch=16, threads=1, seed=1)


def first(cpu: dict[str, Any], mod: Any, *kernels: Kernel, count: int = 4) -> list[Proposal]:
    search = session(mod, cpu)
    found = [ProductIn(kernel.tir).answer() for kernel in kernels]
    search.follow(relatives_among(zip(kernels, (Product(**one) if one else None for one in found), strict=True)))
    return list(search.propose(count))


def schedule(mod: Any, tile: Tile, cpu: dict[str, Any]) -> Any:
    lanes = tiles.lanes_for(found_in(mod), products.cpu_of(make_target(cpu)))
    return products.schedule(mod, found_in(mod), tile, lanes)


def tiles_of(mod: Any, cpu: dict[str, Any]) -> list[Tile]:
    return tiles.tiles(found_in(mod), products.cpu_of(make_target(cpu)))


def kernel(mod: Any, tile: Tile, cpu: dict[str, Any]) -> Kernel:
    return Kernel(str(tvm.ir.save_json(mod)), [record_of(mod, schedule(mod, tile, cpu), cpu)], True)


@cpus.each
@pytest.mark.parametrize("mod", [product(16, 256, 64), heads()], ids=["constant", "heads"])
def test_every_kind_of_tile_is_read_back_from_its_record(mod: Any, cpu: dict[str, Any]) -> None:
    found = found_in(mod)
    kinds: dict[Any, Tile] = {}
    for tile in tiles_of(mod, cpu):
        blocks = (tile.row_block == tile.rows, tile.row_block == found.rows)
        kinds.setdefault((tile.share, tile.panels > 1, tile.depth == found.depth, tile.stretch > 0, *blocks), tile)
    assert len(kinds) > 12
    for tile in kinds.values():
        assert tile_of(record_of(mod, schedule(mod, tile, cpu), cpu)) == tile


@pytest.mark.usefixtures("few_at_once")
@cpus.each
def test_other_schedules_are_no_tiles(cpu: dict[str, Any]) -> None:
    (evolved, *_) = session(row_sums(), cpu).propose(1)
    assert tile_of(evolved.trace) is None
    assert tile_of("[[[],[]],[0.5],null,null]") is None
    (proposal, *_) = session(product(16, 32, 64), cpu).propose(1)
    assert proposal.tile is not None
    assert tile_of(proposal.trace) == proposal.tile
    assert tile_of(proposal.trace.replace(f",{proposal.tile.rows}]", ",0]")) is None


@cpus.each
def test_search_starts_with_what_was_best_elsewhere_and_goes_on_without_it(cpu: dict[str, Any]) -> None:
    other, mod = product(32, 256, 64), product(64, 256, 64)
    unlikely = tiles_of(other, cpu)[-1]
    proposals = first(cpu, mod, kernel(other, unlikely, cpu))
    alone = first(cpu, mod)
    assert proposals[0].tile is not None
    assert (proposals[0].tile.rows, proposals[0].tile.vectors) == (unlikely.rows, unlikely.vectors)
    assert [one.tile for one in proposals[1:]] == [one.tile for one in alone[:3]]


@pytest.mark.usefixtures("few_at_once")
@cpus.each
def test_kernels_that_are_no_products_or_damaged_change_nothing(cpu: dict[str, Any]) -> None:
    other, mod = product(32, 256, 64), product(64, 256, 64)
    good = kernel(other, tiles_of(other, cpu)[-1], cpu)
    sums = str(tvm.ir.save_json(row_sums()))
    useless = [replace(good, tir=sums), replace(good, tir="{}"), replace(good, traces=['{"a":1}'])]
    assert [one.id for one in first(cpu, mod, *useless)] == [one.id for one in first(cpu, mod)]
    assert len(first(cpu, row_sums(), good, count=1)) == 1


@cache
def recorded(model: str) -> list[tuple[str, Product, dict[Tile, float]]]:
    """Name, extents and seconds of each measured tile, fastest first, of a recorded run's products."""
    (path,) = LOGS.glob(f"*.{model}.jsonl.gz")
    found: dict[str, tuple[str, Product, dict[Tile, float]]] = {}
    with gzip.open(path) as lines:
        for line in map(json.loads, lines):
            workload, record = line["workload"], line["record"]
            if "tir" in workload and (extents := products.find_product(module_from_json(workload["tir"]))):
                found[workload["id"]] = (workload["name"], extents, {})
            if workload["id"] in found and (tile := tile_of(json.dumps(record["trace"]))):
                found[workload["id"]][2].setdefault(tile, record["mean_sec"])
    return list(found.values())


def test_best_tiles_of_one_model_are_among_the_best_of_another() -> None:
    """BERT's records, adapted to MiniLM's shapes, against what was measured there."""
    compared = [one for one in recorded("minilm-l6") if len(one[2]) > 16]
    assert len(compared) == 6
    for name, extents, seconds in compared:
        relatives = [Relative(other, list(best), name == named) for named, other, best in recorded("bert-base-uncased")]
        wanted = transfer.first_tiles(extents, tiles.tiles(extents, CPU), relatives)
        times = [seconds[tile] for tile in wanted if tile in seconds]
        ranks = [list(seconds).index(tile) for tile in wanted if tile in seconds]
        assert min(times) < 1.1 * min(seconds.values()), name
        assert min(ranks) < len(seconds) / 8, name
