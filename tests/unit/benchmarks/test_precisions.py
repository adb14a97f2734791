"""What the comparison of precisions reports."""

from __future__ import annotations

from benchmarks.precisions import PEERS, entries, table
from tuner.bench.spec import Result, Timing

CASE = ("minilm-l6", 1, 128)


def result(*precisions: str) -> Result:
    """Ours take 10 ms and more, each peer 20 ms and more."""
    ours = {f"ours_{one}": 10.0 + n for n, one in enumerate(precisions)}
    times = ours | {name: 20.0 + n for n, name in enumerate(PEERS)}
    lost = {"cosine_mean": 0.999, "cosine_min": 0.98, "neighbours": 0.97}
    return Result(
        threads=2,
        machine="some CPU",
        weights="random",
        timings=[Timing(variant=name, median_ms=ms, p10_ms=ms, p90_ms=ms, n=9) for name, ms in times.items()],
        fidelity=dict.fromkeys(times, lost),
    )


def test_each_lower_precision_is_an_entry_beside_all_peers() -> None:
    found = entries(CASE, result("fp32", "bf16", "int8"), ["fp32", "bf16", "int8"])
    assert [(one["precision"], one["ours_ms"], one["ours_fp32_ms"]) for one in found] == [
        ("bf16", 11.0, 10.0),
        ("int8", 12.0, 10.0),
    ]
    assert found[0]["peers"].keys() == PEERS.keys()
    assert found[0]["peers"]["openvino_int8"] == {"ms": 22.0, "precision": "int8", "cosine_mean": 0.999}


def test_a_machine_without_a_precision_leaves_it_out() -> None:
    found = entries(CASE, result("fp32", "int8"), ["fp32", "int8"])
    assert [one["precision"] for one in found] == ["int8"]


def test_the_table_has_a_row_for_each_contestant() -> None:
    assert table(CASE, result("fp32", "bf16")).row_count == 2 + len(PEERS)
