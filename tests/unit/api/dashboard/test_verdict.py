"""The headline never claims more than the numbers, and the evidence says only what is known."""

from __future__ import annotations

from typing import Any

import pytest

from api.dashboard.verdict import CanaryDrift, Evidence, canary_drift, evidence, headline
from tests.support.rows import utcnow
from tuner.schemas import BenchmarkOut, BudgetOut, JobOut


def job(latency_ms: float | None, baseline_ms: float | None) -> JobOut:
    return JobOut(
        id="job-1",
        model="bert-base-uncased",
        model_id="mdl-1",
        weights="pretrained",
        target="local",
        batch=1,
        seq_len=128,
        budget=BudgetOut(trials=100, seconds=None),
        cold=False,
        priority=0,
        state="succeeded",
        wish="",
        message="",
        progress=1.0,
        trials=100,
        trials_per_sec=None,
        tuning_sec=10.0,
        eta_low_sec=None,
        eta_high_sec=None,
        predicted_ms=None,
        latency_ms=latency_ms,
        baseline_ms=baseline_ms,
        speedup=baseline_ms / latency_ms if baseline_ms and latency_ms else None,
        artifact_id=None,
        error=None,
        created_at=utcnow(),
        started_at=None,
        finished_at=None,
    )


def bench(variant: str, median_ms: float, spread: float = 0.02, threads: int = 2) -> BenchmarkOut:
    return BenchmarkOut(
        job_id="job-1",
        artifact_id=None,
        variant=variant,
        median_ms=median_ms,
        p10_ms=median_ms * (1 - spread),
        p90_ms=median_ms * (1 + spread),
        n=60,
        threads=threads,
        machine="a machine",
        created_at=utcnow(),
    )


def find(label: str, found: list[Evidence]) -> Evidence:
    return next(item for item in found if item.label == label)


def test_a_faster_module_is_said_to_be_faster_than_the_best_variant() -> None:
    said = headline(job(43.0, 134.0), [bench("tuned", 43.0), bench("torch-eager", 147.0), bench("torch-sdpa", 134.0)])
    assert said is not None
    assert (said.text, said.tone) == ("3.1× faster than PyTorch", "good")
    assert said.detail == "43.0 ms vs 134 ms with PyTorch SDPA"


def test_a_slower_module_is_said_to_be_slower() -> None:
    said = headline(job(200.0, 100.0), [bench("tuned", 200.0), bench("torch-sdpa", 100.0)])
    assert said is not None
    assert (said.text, said.tone) == ("2.0× slower than PyTorch", "bad")


def test_overlapping_spreads_claim_nothing() -> None:
    said = headline(job(98.0, 100.0), [bench("tuned", 98.0), bench("torch-sdpa", 100.0)])
    assert said is not None
    assert said.text == "About as fast as PyTorch"


def test_before_the_end_there_is_no_headline() -> None:
    assert headline(job(43.0, None), [bench("tuned", 43.0)]) is None


def test_a_module_timed_on_a_device_elsewhere_says_on_which() -> None:
    said = headline(job(43.0, None), [bench("tuned", 43.0)], {"device": {"cpu": "Apple M1"}})
    assert said is not None
    assert said.text == "43.0 ms on Apple M1"


def test_a_module_that_was_only_compiled_claims_no_more() -> None:
    manifest = {"records": 3, "kernels": 12, "tested": "not load-tested on a Mac", "load_check": "symbols"}
    said = headline(job(None, None), [], manifest)
    assert said is not None
    assert "not load-tested on a Mac" in said.text
    assert "3 of 12 kernels from records" in said.detail
    assert "no device has timed it" in said.detail


@pytest.mark.parametrize(
    ("absolute", "relative"),
    [(1e-6, 1e-2), (2e-3, 1e-4), pytest.param(2e-3, 1e-2, id="each beyond its own, of different outputs")],
)
def test_outputs_that_were_verified_are_not_judged_again_by_their_largest_errors(
    absolute: float, relative: float
) -> None:
    check = {"max_abs_error": absolute, "max_rel_error": relative, "inputs": "3 samples of tokenised text"}
    manifest = {"verification": {**check, "tolerance": {"absolute": 1e-5, "relative": 1e-3}}}
    item = find("Same outputs", evidence(manifest, [], None))
    assert item.ok is True
    assert item.note.endswith("each output within 1.0e-05 or relative 1.0e-03, on 3 samples of tokenised text")


def test_what_outputs_were_compared_with_is_named() -> None:
    check = {"max_abs_error": 1e-6, "max_rel_error": 1e-5, "against": "an unscheduled build of the operator"}
    item = find("Same outputs", evidence({"verification": check}, [], None))
    assert "from an unscheduled build of the operator" in item.note
    assert "PyTorch" not in item.note


@pytest.mark.parametrize(("usual", "ok"), [(0.02, True), (0.4, False)])
def test_a_drifting_machine_is_pointed_out(usual: float, ok: bool) -> None:
    assert find("Quiet machine", evidence({}, [], CanaryDrift(40, usual))).ok is ok


@pytest.mark.parametrize(
    ("predicted", "canary", "value", "ok", "says"),
    [
        (100.0, None, "+3.0 %", True, "add up to 100 ms; the whole takes 103 ms"),
        (100.0, {"kernels_us": 500.0, "model_us": 505.0}, "+3.0 %", True, "the whole takes 103 ms"),
        (110.0, None, "−6.4 %", False, "the whole takes 103 ms"),
        (88.0, {"kernels_us": 500.0, "model_us": 600.0}, "+17.0 %", False, "machine that had become 20 % slower"),
        (110.0, {"kernels_us": 500.0, "model_us": 460.0}, "−6.4 %", False, "machine that had become 8.0 % faster"),
        (100.0, {"kernels_us": None, "model_us": None}, "+3.0 %", True, "the whole takes 103 ms"),
    ],
)
def test_a_model_is_held_against_the_sum_of_its_kernels(
    predicted: float, canary: dict[str, float] | None, value: str, ok: bool, says: str
) -> None:
    manifest = {"predicted_ms": predicted, "latency": {"median_ms": 103.0}, "canary": canary}
    item = find("As predicted", evidence(manifest, [], None))
    assert (item.value, item.ok) == (value, ok)
    assert says in item.note
    assert ("machine" in item.note) is ("machine" in says)


def test_drift_is_what_nine_in_ten_rounds_stayed_within() -> None:
    assert canary_drift([1.0] * 8 + [0.96, 1.5]) == CanaryDrift(10, pytest.approx(0.04))
    assert canary_drift([]) is None


def test_a_wide_spread_is_pointed_out() -> None:
    assert find("Repeatable", evidence({}, [bench("tuned", 43.0, spread=0.3)], None)).ok is False


def test_variants_with_differing_threads_are_pointed_out() -> None:
    rows = [bench("tuned", 43.0, threads=2), bench("torch-sdpa", 134.0, threads=1)]
    assert find("Same terms", evidence({}, rows, None)).ok is False


@pytest.mark.parametrize(("level", "ok"), [("device", True), ("symbols", False), ("none", False)])
def test_only_a_load_on_the_device_counts_as_load_tested(level: str, ok: bool) -> None:
    assert find("Loads", evidence({"load_check": level}, [], None)).ok is ok


def test_an_operator_stands_beside_the_peak_and_pytorch() -> None:
    speeds = {"tuned": 450.0, "torch-eager": 225.0, "product": 240.0}
    manifest = {"gflops": speeds, "peak_gflops": 500.0, "peak_source": "computed"}
    found = find("Arithmetic", evidence(manifest, [], None))
    assert found.value == "450 GFLOPS"
    assert "90 % of the 500 that its units reach at their clock, as computed" in found.note
    assert "PyTorch 225" in found.note


@pytest.mark.parametrize(
    ("launches", "copies", "ok"),
    [({"metal": 27}, 0, True), ({"metal": 26, "cpu": 1}, 0, False), ({"metal": 27}, 2, False)],
)
def test_a_gpu_job_says_what_leaves_the_gpu(launches: dict[str, int], copies: int, ok: bool) -> None:
    manifest = {"places": {"launches": launches, "host_copies": copies}}
    assert find("Stays on the GPU", evidence(manifest, [], None)).ok is ok


def test_of_a_cpu_nobody_asks_what_leaves_the_gpu() -> None:
    assert evidence({"places": {"launches": {"cpu": 27}, "host_copies": 0}}, [], None) == []


def test_a_module_for_a_mac_that_no_mac_ran_says_so() -> None:
    manifest = {"load_check": "symbols", "tested": "not load-tested on a Mac"}
    assert find("Loads", evidence(manifest, [], None)).value == "not load-tested on a Mac"


def test_records_that_could_not_be_used_are_named_with_their_reason() -> None:
    found = find("Left out", evidence({"left_out": ["record c0 of matmul: it wants 2048 threads"]}, [], None))
    assert (found.value, found.ok) == ("1 record", False)
    assert "2048 threads" in found.note


def test_kernels_whose_rounds_failed_are_named_with_the_error() -> None:
    found = find("Given up", evidence({"given_up": ["matmul: its last 4 rounds failed: no schedule"]}, [], None))
    assert (found.value, found.ok) == ("1 kernel", False)
    assert "no schedule" in found.note


def test_random_weights_are_named() -> None:
    assert find("Weights", evidence({"weights": "random"}, [], None)).ok is False


@pytest.mark.parametrize(
    "manifest", [{}, {"verification": None, "versions": None}, {"verification": {}, "coverage": None}]
)
def test_what_is_not_known_is_left_out(manifest: dict[str, Any]) -> None:
    assert evidence(manifest, [], None) == []


def test_coverage_tells_guesses_from_plain_kernels_where_the_manifest_does() -> None:
    new = find("Coverage", evidence({"coverage": 0.5, "guessed": 0.375}, [], None))
    assert (new.value, "38 % in guesses" in new.note, "12 % in plain" in new.note) == ("50 %", True, True)
    assert "guesses" not in find("Coverage", evidence({"coverage": 0.5}, [], None)).note


def test_how_near_an_import_is_to_the_library_is_said_where_it_is_known() -> None:
    manifest = {"faithful": {"cases": ["full", "empty"], "max_abs_error": 1.5e-6, "max_rel_error": 1e-5}}
    item = find("Same model", evidence(manifest, [], None))
    assert item.ok
    assert "rows that are full, empty" in item.note
    assert not [one for one in evidence({}, [], None) if one.label == "Same model"]
