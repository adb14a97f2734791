"""What the comparison of precisions reports, and what it does again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import precisions, report
from benchmarks.latency import Case
from benchmarks.precisions import PEERS, entries, main, table
from rpc.facts import cpu_model
from tuner.bench.spec import Result, Timing
from tuner.errors import StageFailed

CASE = Case("minilm-l6", 1, 128)
LOST = {"cosine_mean": 0.999, "cosine_min": 0.98, "neighbours": 0.97}


def result(*ours: str, without: str = "") -> Result:
    """Ours take 10 ms and more, each peer 20 ms and more; OpenVINO takes float32 by itself."""
    computed_in = {f"ours_{one}": one for one in ours} | {name: precision for name, (_, precision) in PEERS.items()}
    computed_in["openvino_default"] = "fp32"
    times = {f"ours_{one}": 10.0 + n for n, one in enumerate(ours)} | {name: 20.0 + n for n, name in enumerate(PEERS)}
    times.pop(without, None)
    return Result(
        threads=2,
        machine="some CPU",
        weights="random",
        timings=[
            Timing(variant=name, median_ms=ms, p10_ms=ms, p90_ms=ms, n=9, precision=computed_in[name])
            for name, ms in times.items()
        ],
        absent={without: "not installed"} if without else {},
        fidelity=dict.fromkeys(times, LOST),
    )


def test_each_lower_precision_is_an_entry_beside_all_peers() -> None:
    found = entries(CASE, result("fp32", "bf16", "int8"), ["fp32", "bf16", "int8"])
    assert [(one["precision"], one["ours_ms"], one["ours_fp32_ms"]) for one in found] == [
        ("bf16", 11.0, 10.0),
        ("int8", 12.0, 10.0),
    ]
    assert found[0]["peers"].keys() == PEERS.keys()
    assert found[0]["peers"]["openvino_int8"] == {"ms": 22.0, "precision": "int8", "cosine_mean": 0.999}
    assert found[0]["peers"]["openvino_default"]["precision"] == "fp32", "what it chose, not what was expected"


def test_a_peer_that_is_not_there_is_named_with_the_reason() -> None:
    (found,) = entries(CASE, result("fp32", "int8", without="openvino_int8"), ["fp32", "int8"])
    assert "openvino_int8" not in found["peers"]
    assert found["absent"] == {"openvino_int8": "not installed"}


def test_a_machine_without_a_precision_leaves_it_out() -> None:
    found = entries(CASE, result("fp32", "int8"), ["fp32", "int8"])
    assert [one["precision"] for one in found] == ["int8"]


def test_the_table_has_a_row_for_each_contestant() -> None:
    assert table(CASE, result("fp32", "bf16")).row_count == 2 + len(PEERS)


class Bench:
    """The benchmark with jobs and timing that take no time."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.without = ""  # a peer that can't take part
        self.folder, self.tuned, self.raced = folder, list[str](), list[list[str]]()
        monkeypatch.setattr(report, "OUT", folder)
        monkeypatch.setattr(precisions, "_tune", self._tune)
        monkeypatch.setattr(precisions, "_race", self._race)

    def __call__(self, model: str, words: str, tune: bool = True, time: bool = True) -> None:
        main(words, model, 1, 128, 8, None, 3.0, tune, time, self.folder)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Model and precision of each entry."""
        return [(one["model"], one["precision"]) for one in json.loads((self.folder / "precisions.json").read_text())]

    def _tune(self, _settings: Any, case: Case, wanted: list[Any], _wish: Any, about: dict[str, Any]) -> None:
        self.tuned += wanted
        art = self.folder / "art.tar"
        art.touch()
        made = [
            {"model": case.model, "batch": 1, "seq": 128, "precision": one, "artifact": str(art)} | about
            for one in wanted
        ]
        report.save("precisions_tuned", made)

    def _race(self, _settings: Any, _case: Case, artifacts: dict[str, Path], _max_sec: float, graphs: Path) -> Result:
        assert graphs.is_dir()
        self.raced.append(list(artifacts))
        return result(*artifacts, without=self.without)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_pieces_come_together_and_none_is_done_twice(bench: Bench) -> None:
    bench("minilm-l6", "int8")
    bench("bert-base-uncased", "all")
    bench("minilm-l6", "all")
    bench("minilm-l6", "all")
    assert bench.rows == [
        ("minilm-l6", "int8"),
        ("bert-base-uncased", "bf16"),
        ("bert-base-uncased", "int8"),
        ("minilm-l6", "bf16"),
    ]
    assert bench.raced == [["fp32", "int8"], ["fp32", "bf16", "int8"], ["fp32", "bf16"]]
    assert json.loads((bench.folder / "precisions.json").read_text())[0]["machine"] == cpu_model()


def test_what_a_peer_was_missing_from_is_timed_again(bench: Bench) -> None:
    bench.without = "openvino_int8"
    bench("minilm-l6", "int8")
    bench.without = ""
    bench("minilm-l6", "int8")
    bench("minilm-l6", "int8")
    assert bench.rows == [("minilm-l6", "int8")]
    assert len(bench.raced) == 2


def test_tuning_and_timing_may_be_done_apart(bench: Bench) -> None:
    with pytest.raises(StageFailed, match="is not tuned"):
        bench("minilm-l6", "int8", tune=False)
    bench("minilm-l6", "int8", time=False)
    assert (bench.tuned, bench.raced) == (["fp32", "int8"], [])
    bench("minilm-l6", "int8", tune=False)
    assert (bench.tuned, bench.raced) == (["fp32", "int8"], [["fp32", "int8"]])
