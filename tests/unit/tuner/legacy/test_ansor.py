"""Logs of Ansor as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuner.legacy import ansor
from tuner.legacy.ansor import is_ansor, parse_line, parse_steps
from tuner.legacy.summary import obstacle, summarise, workload_id

LOG = Path(__file__).parents[3] / "support" / "data" / "swish_gemm_m1_gpu.ansor.json"


def line(key: list[Any], steps: list[Any], costs: list[float], error: int = 0, timestamp: int = 100) -> bytes:
    """A line of a log."""
    inputs = [[json.dumps(key), "llvm -keys=cpu", [2, 64]], [[], steps]]
    return json.dumps({"i": inputs, "r": [costs, error, 1.5, timestamp], "v": "v0.6"}).encode()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (["SP", 2, 0, 128, [1, 8, 4], 1], ansor.Split(2, 0, (1, 8, 4), True)),
        (["SP", 2, 0, None, [4], 0], ansor.Split(2, 0, (4,), False)),
        (["FSP", 3, 4, 4, 2], ansor.FollowSplit(3, 4, 4, 2)),
        (["FFSP", 3, 0, [4, 3], 1, 1], ansor.FollowFusedSplit(3, 0, (4, 3), 1, True)),
        (["RE", 2, [1, 0]], ansor.Reorder(2, (1, 0))),
        (["FU", 2, [0, 1]], ansor.Fuse(2, (0, 1))),
        (["AN", 2, 0, 3], ansor.Annotate(2, 0, "parallel")),
        (["AN", 2, 0, 6], ansor.Annotate(2, 0, "threadIdx.x")),
        (["PR", 2, 0, "auto_unroll_max_step$64"], ansor.Pragma(2, 0, "auto_unroll_max_step$64")),
        (["CA", 2, 3, 5], ansor.ComputeAt(2, 3, 5)),
        (["CI", 4], ansor.ComputeInline(4)),
        (["CR", 4], ansor.ComputeRoot(4)),
        (["CHR", 1, "shared", [2]], ansor.CacheRead(1, "shared", (2,))),
        (["CHW", 2, "local"], ansor.CacheWrite(2, "local")),
        (["RF", 2, 1, 0], ansor.Rfactor(2, 1, 0)),
        (["SA", 2, 1, 32, 8], ansor.StorageAlign(2, 1, 32, 8)),
    ],
)
def test_every_transform_step_is_read(raw: list[Any], expected: ansor.Step) -> None:
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
    ],
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


def test_a_workload_key_has_one_identity() -> None:
    assert workload_id("gemm", [8, 8, 8]) == workload_id("gemm", (8, 8, 8)) != workload_id("gemm", [8, 8, 9])
