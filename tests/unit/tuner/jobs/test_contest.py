"""Which of a job's modules wins."""

from __future__ import annotations

from typing import Any

from tuner.bench.spec import Result, Timing
from tuner.jobs.contest import compared, in_words, is_near, named_by_speed


def manifest(precision: str, cosine: float | None = None, refused: str = "") -> dict[str, Any]:
    check: dict[str, Any] = {"refused": refused} if refused else {}
    if cosine is not None:
        figures = {"cosine_mean": cosine, "cosine_min": cosine, "bounds": {"cosine_mean": 0.99, "cosine_min": 0.97}}
        check["fidelity"] = figures
    return {"precision": precision, "verification": check}


def result(**took_ms: float) -> Result:
    timings = [
        Timing(variant=name.replace("_", "-"), median_ms=ms, p10_ms=ms, p90_ms=ms, n=1) for name, ms in took_ms.items()
    ]
    return Result(threads=2, timings=timings)


def test_the_quickest_that_is_not_refused_is_the_tuned_one() -> None:
    made = {
        "untuned": manifest("fp32"),
        "bf16": manifest("bf16", 0.9999),
        "int8": manifest("int8", 0.995, "a drop of 0.5%"),
        "tuned": manifest("fp32"),
    }
    winner, named = named_by_speed(result(torch_sdpa=50.0, untuned=90.0, bf16=12.0, int8=8.0, tuned=20.0), made)
    assert winner == "bf16"
    took = {timing.variant: timing.median_ms for timing in named.timings}
    assert took == {"torch-sdpa": 50.0, "untuned": 90.0, "tuned": 12.0, "tuned-int8": 8.0, "tuned-fp32": 20.0}
    found = compared(made, {timing.variant: timing for timing in named.timings})["precisions"]
    assert {name: (one["median_ms"], one["refused"]) for name, one in found.items()} == {
        "fp32": (20.0, ""),
        "bf16": (12.0, ""),
        "int8": (8.0, "a drop of 0.5%"),
    }


def test_what_is_beyond_the_bounds_is_named_and_has_no_time() -> None:
    made = {"untuned": manifest("fp32"), "int8": manifest("int8", 0.9, "cosine 0.9"), "tuned": manifest("fp32")}
    timed = {name: one for name, one in made.items() if is_near(one)}
    winner, named = named_by_speed(result(untuned=90.0, tuned=20.0), timed)
    assert winner == "tuned"
    found = compared(made, {timing.variant: timing for timing in named.timings})["precisions"]
    assert (found["int8"]["median_ms"], found["fp32"]["median_ms"]) == (None, 20.0)
    assert in_words(found) == "int8 not timed, cosine 0.90000, refused: cosine 0.9; fp32 20 ms"


def test_a_job_of_one_precision_compares_none() -> None:
    made = {"untuned": manifest("fp32"), "tuned": manifest("int8", 0.999)}
    assert named_by_speed(result(untuned=90.0, tuned=20.0), made)[0] == "tuned"
    assert compared(made, {}) == {}
