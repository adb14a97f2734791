"""A trace is applied only when each of its instructions is one of ours."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tuner.kernels import traces

LOGS = Path(__file__).parents[4] / "tuning_logs"
GOOD: list[Any] = [
    [
        ["GetSBlock", [], ["matmul", "main"], ["b0"]],
        ["GetLoops", ["b0"], [], ["l1", "l2"]],
        ["SamplePerfectTile", ["l1"], [2, 64], ["v3", "v4"]],
        ["Split", ["l1", "v3", "v4"], [True, False], ["l5", "l6"]],
        ["Split", ["l2", "None", 8], [True, False], ["l7", "l8"]],
        ["CacheRead", ["b0", ["b0"]], [0, "shared"], ["b9"]],
        ["Annotate", ["b0", '"SSRSRS"'], ["meta_schedule.tiling_structure"], []],
        ["Bind", ["l5"], ["blockIdx.x"], []],
    ],
    [[2, [4, 16]]],
]


def test_what_schedules_of_ours_are_made_of_is_taken() -> None:
    traces.check(GOOD)


@pytest.mark.parametrize("log", sorted(LOGS.glob("*.jsonl.gz")), ids=lambda path: path.name)
def test_every_record_that_comes_with_us_is_taken(log: Path) -> None:
    lines = gzip.decompress(log.read_bytes()).splitlines()
    for line in lines[::10]:
        trace = json.loads(line)["record"]["trace"]
        if isinstance(trace, dict):  # the choice of a kernel that is written out: its name, and numbers
            assert all(isinstance(value, int) for name, value in trace.items() if name != "kernel")
        else:
            traces.check(trace[0])


def _with(number: int, instruction: Any) -> list[Any]:
    changed = copy.deepcopy(GOOD)
    changed[0][number] = instruction
    return changed


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        (_with(6, ["Annotate", ["b0", '"x"'], ["pragma_import_llvm"], []]), "pragma_import_llvm"),
        (_with(6, ["Annotate", ["b0", '"x"'], ["pragma_import_c"], []]), "pragma_import_c"),
        (_with(6, ["Annotate", ["b0", '"a b\n"'], ["meta_schedule.parallel"], []]), "not there before"),
        (_with(6, ["Tensorize", ["b0"], ["any_intrinsic", True], []]), "Tensorize"),
        (_with(6, ["TransformLayout", ["b0"], [0, 1, None, True], []]), "TransformLayout"),
        (_with(7, ["Bind", ["l5"], ["clusterIdx.x"], []]), "clusterIdx"),
        (_with(7, ["Bind", ["l99"], ["blockIdx.x"], []]), "not there before"),
        (_with(7, ["Bind", [None], ["blockIdx.x"], []]), "not there before"),
        (_with(5, ["CacheRead", ["b0", ["b0"]], [0, "metal.simdgroup"], ["b9"]]), "CacheRead of"),
        (_with(4, ["Split", ["l2", "None", 2**40], [True, False], ["l7", "l8"]]), "not there before"),
        (_with(4, ["Split", ["l2", "None", 8], [True, False], ["l1", "l8"]]), "gives what it can not"),
        (_with(4, ["Split", ["l2", "None", 8], [True], ["l7", "l8"]]), "Split of"),
        (_with(4, ["Split", ["l2"]]), "no instruction"),
        (_with(4, None), "no instruction"),
        ([GOOD[0], []], "decisions are not those"),
        ([GOOD[0], [[2, [4, 16]], [2, [4, 16]]]], "decisions are not those"),
        ([GOOD[0], [[7, [4, 16]]]], "decisions are not those"),
        ([GOOD[0], [[2, None]]], "a decision is no number"),
        ([GOOD[0], [None]], "no decision"),
        ([GOOD[0] * 1000, []], "instructions"),
        (None, "damaged"),
        ([[], [], []], "damaged"),
    ],
)
def test_what_is_not_listed_is_refused_with_its_reason(trace: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        traces.check(trace)
