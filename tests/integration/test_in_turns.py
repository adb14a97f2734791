"""Finished artifacts timed against each other in one run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny_artifact
from tuner.apart import Limits, answered
from tuner.bench.in_turns import timed
from tuner.bench.spec import Result, Timing
from tuner.cli.comparing import verdict
from tuner.errors import InvalidInput, StageFailed


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_artifact.build(tmp_path_factory.mktemp("artifact"))


@pytest.fixture
def other(artifact: Path, tmp_path: Path) -> Any:
    """The same artifact, but for some entries of its manifest."""

    def made(**changes: Any) -> str:
        for file in artifact.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        known = json.loads((artifact / "manifest.json").read_text())
        kept = {name: known[name] for name in ("target", "versions")}
        tiny_artifact.write_manifest(tmp_path, **kept | changes)
        return str(tmp_path)

    return made


def test_artifacts_take_turns_in_a_process_of_their_own(artifact: Path) -> None:
    paths = {"one": str(artifact), "other": str(artifact)}
    answer = answered("tuner.bench.in_turns_worker", (paths, 7), Limits(300.0, 2**33), StageFailed)
    result = Result.model_validate(answer)
    assert [timing.variant for timing in result.timings] == ["one", "other"]
    assert {(timing.n, len(timing.rounds_ms)) for timing in result.timings} == {(35, 7)}
    assert all(0 < timing.p10_ms <= timing.median_ms <= timing.p90_ms for timing in result.timings)
    assert (result.threads, bool(result.machine)) == (1, True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputs": [{"name": "x", "shape": [9, 4], "dtype": "float32"}]}, "different shapes: one 2 x 4, other 9 x 4"),
        ({"threads": 64}, "different threads: one 1, other 64"),
        ({"target": {"kind": "llvm", "mtriple": "riscv64-linux-gnu"}}, "other can't be timed here: .*riscv64"),
    ],
)
def test_what_can_not_be_compared_is_refused(artifact: Path, other: Any, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        timed({"one": str(artifact), "other": other(**changes)}, 6)


@pytest.mark.parametrize(
    ("rounds_ms", "said"),
    [([5.0] * 6, "slow: the difference may be chance"), ([9.0] * 6, "fast is 2.00x as fast as slow$")],
)
def test_a_difference_that_may_be_chance_is_called_so(rounds_ms: list[float], said: str) -> None:
    fast = Timing(variant="fast", median_ms=5.0, p10_ms=4.0, p90_ms=6.0, n=6, rounds_ms=[5.0] * 6)
    slow = fast.model_copy(update={"variant": "slow", "median_ms": 10.0, "rounds_ms": rounds_ms})
    assert re.search(said, verdict(Result(threads=1, timings=[slow, fast])))
