"""Logs of Ansor as data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tuner.legacy import transform
from tuner.legacy.ansor import AnsorRecord, is_ansor, parse_line
from tuner.legacy.summary import MAX_SUMMARIES, Summaries, obstacle, workload_id
from tuner.legacy.transform import parse_steps
from tuner.schemas import LegacyOut

LOG = Path(__file__).parents[3] / "support" / "data" / "swish_gemm_m1_gpu.ansor.json"


def line(key: list[Any], steps: list[Any], costs: list[float], error: int = 0, timestamp: int = 100) -> bytes:
    """A line of a log."""
    inputs = [[json.dumps(key), "llvm -keys=cpu", [2, 64]], [[], steps]]
    return json.dumps({"i": inputs, "r": [costs, error, 1.5, timestamp], "v": "v0.6"}).encode()


def summarise(records: Iterable[AnsorRecord]) -> list[LegacyOut]:
    """The summaries of a log of these records."""
    found = Summaries()
    for record in records:
        found.add(record)
    return found.told()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (["SP", 2, 0, 128, [1, 8, 4], 1], transform.Split(2, 0, (1, 8, 4), True)),
        (["SP", 2, 0, None, [4], 0], transform.Split(2, 0, (4,), False)),
        (["FSP", 3, 4, 4, 2], transform.FollowSplit(3, 4, 4, 2)),
        (["FFSP", 3, 0, [4, 3], 1, 1], transform.FollowFusedSplit(3, 0, (4, 3), 1, True)),
        (["RE", 2, [1, 0]], transform.Reorder(2, (1, 0))),
        (["FU", 2, [0, 1]], transform.Fuse(2, (0, 1))),
        (["AN", 2, 0, 3], transform.Annotate(2, 0, "parallel")),
        (["AN", 2, 0, 6], transform.Annotate(2, 0, "threadIdx.x")),
        (["PR", 2, 0, "auto_unroll_max_step$64"], transform.Pragma(2, 0, "auto_unroll_max_step$64")),
        (["CA", 2, 3, 5], transform.ComputeAt(2, 3, 5)),
        (["CI", 4], transform.ComputeInline(4)),
        (["CR", 4], transform.ComputeRoot(4)),
        (["CHR", 1, "shared", [2]], transform.CacheRead(1, "shared", (2,))),
        (["CHW", 2, "local"], transform.CacheWrite(2, "local")),
        (["RF", 2, 1, 0], transform.Rfactor(2, 1, 0)),
        (["SA", 2, 1, 32, 8], transform.StorageAlign(2, 1, 32, 8)),
    ],
)
def test_every_transform_step_is_read(raw: list[Any], expected: transform.Step) -> None:
    assert parse_steps([raw]) == (expected,)


def test_a_real_log_is_read_line_by_line() -> None:
    records = [parse_line(one) for one in LOG.read_bytes().splitlines()]
    assert {(r.name, r.args, r.target_kind) for r in records} == {("swish_gemm", (128, 3072, 768), "metal")}
    assert {r.error_class for r in records} == {"", "wrong", "run"}
    assert all((r.mean_sec is None) == bool(r.error_class) for r in records)


@pytest.mark.parametrize(
    "damaged",
    [
        b'{"i": [["[\\"gemm\\"',
        b'{"i": 1, "r": 2, "v": "v0.6"}',
        line(["gemm", 8, 8, 8], [["XX", 1]], [1e-3]),
        line(["gemm", 8, 8, 8], [["SP", 1]], [1e-3]),
        line(["gemm", 8, 8, 8], [], []),
        line(["gemm", 8, 8, 8], [["AN", 2, 0, 77]], [1e-3]),
        line(["gemm", 8, 8, 8], [], [math.inf]),
        line(["gemm", 8, 8, 8], [], [1e-3, math.nan]),
        line(["gemm", 8, 8, 8], [], [10**400]),
        line(["gemm", 8, 8, 8], [], [1e-3], timestamp=10**15),
        line(["gemm", 8, 8, 8], [], [1e-3], timestamp=-1),
        line(["gemm", 8, 8, 8], [], [1e-3]).replace(b"100]", b"Infinity]"),
        line(["gemm", [[[[[8]]]]]], [], [1e-3]),
        line(["gemm", "x" * 5000], [], [1e-3]),
        line(["gemm", "\ud800"], [], [1e-3]),
        line(["gemm", "\0"], [], [1e-3]),
        line([{}, 8], [], [1e-3]),
        line(["gemm", 8, 8, 8], [["SP", {}, 0, 8, [1], 1]], [1e-3]),
        line(["gemm", 8, 8, 8], [["SP", 2, 0, 8, [10**30], 1]], [1e-3]),
        line(["gemm", 8, 8, 8], [["PR", 2, 0, 7]], [1e-3]),
        line(["gemm", 8, 8, 8], [[]], [1e-3]),
        line(["gemm", 8, 8, 8], [[["SP"]]], [1e-3]),
        line(["gemm", 8, 8, 8], [["CR", 1]] * 3000, [1e-3]),
        line(["gemm", 8, 8, 8], [], [1e-3]).replace(b"llvm -keys=cpu", b"../../etc"),
        b"[" * 50_000,
        b'{"i": ' * 50_000,
        b"\xff\xfe\x00",
    ],
    ids=range(27),
)
def test_a_damaged_line_says_what_is_wrong(damaged: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_line(damaged)


@pytest.mark.parametrize(("number", "name"), [(2, "build"), (6, "build_timeout"), (7, "timeout"), (99, "run")])
def test_what_went_wrong_is_called_as_in_our_own_records(number: int, name: str) -> None:
    assert parse_line(line(["gemm", 8, 8, 8], [], [], error=number)).error_class == name


def test_logs_are_told_apart_by_their_keys() -> None:
    assert is_ansor(line(["gemm", 8, 8, 8], [], [1e-3]))
    assert not is_ansor(b'{"v": 1, "workload": {}, "record": {}}')
    assert not is_ansor(b"[1, 2]")
    assert not is_ansor(b"nonsense")


def test_the_summary_has_the_best_and_the_way_there() -> None:
    (found,) = summarise([parse_line(one) for one in LOG.read_bytes().splitlines()])
    assert (found.workload, found.model) == ("swish_gemm(128, 3072, 768)", "op:swish_gemm:128,3072,768")
    assert (found.records, found.failed, found.replayable, found.obstacles) == (22, 4, 18, [])
    assert found.gflops == pytest.approx(873, abs=1)
    speeds = [point.gflops for point in found.curve]
    assert speeds == sorted(speeds)
    assert speeds[-1] == found.gflops
    assert [point.t_sec for point in found.curve] == sorted(point.t_sec for point in found.curve)


def test_what_has_no_equal_here_is_a_reference_with_its_reason() -> None:
    unknown, factored = (
        parse_line(one)
        for one in (
            line(["conv2d_nhwc", 1, 56, 56], [], [1e-3]),
            line(["gemm", 8, 8, 8], [["SP", 2, 0, 8, [2], 1], ["RF", 2, 1, 0]], [1e-3]),
        )
    )
    assert "no operator conv2d_nhwc(1, 56, 56)" in obstacle(unknown)
    assert "Rfactor" in obstacle(factored)
    assert [(log.model, log.gflops is None) for log in summarise([unknown, factored])] == [("", True), ("", False)]


def test_the_way_to_the_best_is_told_in_the_order_of_time_however_the_log_goes() -> None:
    log = [(30, 2.0), (10, 5.0), (20, 6.0), (40, 3.0), (25, 4.0), (5, 9.0), (50, 1.0), (50, 1.5)]
    (found,) = summarise([parse_line(line(["gemm", 8, 8, 8], [], [secs], timestamp=t)) for t, secs in log])
    assert [(point.t_sec, point.best_us / 1e6) for point in found.curve] == [
        (0, 9.0), (5, 5.0), (20, 4.0), (25, 2.0), (45, 1.0)
    ]  # fmt: skip


def test_a_summary_takes_bounded_memory_however_long_the_log_is() -> None:
    found = Summaries()
    for number in range(5000):
        found.add(parse_line(line(["gemm", 8, 8, 8], [], [1.0 / (number + 1)], timestamp=number)))
        found.add(parse_line(line(["gemm", number, 8, 8], [["RF", 2, 1, 0]], [1.0])))
    told = found.told()
    assert len(told) == MAX_SUMMARIES
    (gemm,) = [one for one in told if one.workload == "gemm(8, 8, 8)"]
    assert gemm.records == 5001
    assert len(gemm.curve) <= 1000
    assert (gemm.curve[0].t_sec, gemm.curve[-1].t_sec) == (0, 4999)


def test_a_workload_key_has_one_identity() -> None:
    assert workload_id("gemm", [8, 8, 8]) == workload_id("gemm", (8, 8, 8)) != workload_id("gemm", [8, 8, 9])
