from __future__ import annotations

import math

import pytest

from tests.support.rows import make_record, make_workload, utcnow
from tuner.db.models import Benchmark, Job, JobWorkload, Model
from tuner.jobs.view import describe_job, describe_workloads, record_out
from tuner.targets.roofline import Peak

BERT = Model(name="bert", source="preset", location="bert")


def _job(**fields: object) -> Job:
    given = {"id": "job-1", "model_id": "mdl-1", "target": "local", "budget_trials": 100, "created_at": utcnow()}
    return Job(**{**given, **fields})


def _bench(variant: str, median_ms: float) -> Benchmark:
    return Benchmark(
        job_id="job-1", variant=variant, median_ms=median_ms, p10_ms=1, p90_ms=9, n=10, threads=2, machine="here"
    )


def test_speedup_is_against_the_better_pytorch_variant() -> None:
    rows = [_bench("torch-eager", 147.0), _bench("torch-sdpa", 134.0), _bench("untuned", 900.0), _bench("tuned", 67.0)]
    out = describe_job(_job(latency_ms=67.0, state="succeeded"), BERT, rows)
    assert (out.baseline_ms, out.speedup) == (134.0, 2.0)


def test_no_speedup_without_both_numbers() -> None:
    assert describe_job(_job(latency_ms=67.0), BERT, []).speedup is None
    assert describe_job(_job(), BERT, [_bench("torch-eager", 100.0)]).speedup is None


def test_a_failed_job_shows_its_error() -> None:
    error = {"code": "stage_failed", "message": "no", "hint": "try"}
    out = describe_job(_job(state="failed", error=error), BERT, [])
    assert out.error is not None
    assert out.error.model_dump() == error


def test_an_operator_shows_its_arithmetic_at_the_measured_latency_else_the_predicted() -> None:
    gemm = Model(name="op:gemm:128,3072,768", source="operator", location="op:gemm:128,3072,768")
    measured = describe_job(_job(latency_ms=1.2, predicted_ms=9.0), gemm, [])
    assert (measured.kind, round(measured.gflops or 0)) == ("operator", 503)
    assert round(describe_job(_job(predicted_ms=1.2), gemm, []).gflops or 0) == 503
    assert describe_job(_job(), gemm, []).gflops is None
    own = Model(name="/data/mine.operator.json", source="operator", location="/data/mine.operator.json")
    assert (describe_job(_job(latency_ms=1.2), own, []).kind, own.location) == ("operator", own.name)
    assert describe_job(_job(latency_ms=2.0), own, [], counted=1e9).gflops == pytest.approx(500.0)
    assert describe_job(_job(latency_ms=2.0), own, []).gflops is None
    assert describe_job(_job(latency_ms=1.2), BERT, []).gflops is None


@pytest.mark.parametrize(
    ("fields", "last_round", "expected"),
    [
        ({"state": "tuning", "trials": 50, "tuning_sec": 25.0}, {"rounds": 4, "fewest_left": 30}, (10.0, 37.5)),
        ({"state": "tuning", "trials": 50, "tuning_sec": 25.0, "budget_sec": 35.0}, {"rounds": 4}, (0.0, 10.0)),
        ({"state": "tuning", "budget_sec": 30.0}, {}, (0.0, 30.0)),
        ({"state": "submitted", "budget_sec": 30.0}, {}, (0.0, 30.0)),
        ({"state": "tuning", "trials": 120, "tuning_sec": 25.0}, {"rounds": 4}, (0.0, 0.0)),
        ({"state": "tuning"}, {}, (None, None)),
        ({"state": "paused", "trials": 50, "tuning_sec": 25.0}, {"rounds": 4}, (None, None)),
        ({"state": "succeeded", "trials": 50, "tuning_sec": 25.0}, {"rounds": 4}, (None, None)),
    ],
)
def test_what_is_left_is_a_band_while_tuning_is_ahead(
    fields: dict[str, object], last_round: dict[str, int], expected: tuple[float | None, float | None]
) -> None:
    out = describe_job(_job(**fields), BERT, [], last_round)
    assert (out.eta_low_sec, out.eta_high_sec) == expected


def test_shares_of_measured_workloads_sum_to_one() -> None:
    rows = [
        (JobWorkload(job_id="job-1", workload_id="wl-1", weight=12, best_us=100.0), make_workload(1, flops=2e8)),
        (JobWorkload(job_id="job-1", workload_id="wl-2", weight=1, best_us=400.0), make_workload(2, flops=0.0)),
        (JobWorkload(job_id="job-1", workload_id="wl-3", weight=1), make_workload(3)),
    ]
    first, second, third = describe_workloads(rows)
    assert first.gflops == pytest.approx(2000.0)
    assert (first.share, second.share) == (pytest.approx(0.75), pytest.approx(0.25))
    assert (third.gflops, third.share) == (None, None)


def test_a_kernel_is_seen_against_what_its_device_can_do() -> None:
    link = JobWorkload(job_id="job-1", workload_id="wl-1", weight=12, best_us=100.0)
    workload = make_workload(1, flops=2e7, summary="float32[100,100] -> float32[100,100]")
    (unknown,) = describe_workloads([(link, workload)])
    (known,) = describe_workloads([(link, workload)], Peak(gflops=500.0, gb_per_sec=40.0))
    assert unknown.peak_share is None
    assert known.peak_share == pytest.approx(0.4)
    assert known.intensity == pytest.approx(2e7 / 8e4)


def test_a_kernel_at_a_lower_precision_is_seen_against_the_peak_of_that() -> None:
    link = JobWorkload(job_id="job-1", workload_id="wl-1", weight=12, best_us=10.0)
    summary = "float32[100,100], float32[100,100] -> float32[100,100]"
    workload = make_workload(1, name="matmul_int8", flops=2e7, weight_bytes=40_000, summary=summary)
    (known,) = describe_workloads([(link, workload)], Peak(500.0, 40.0, lower={"int8": 4000.0}))
    (unknown,) = describe_workloads([(link, workload)], Peak(500.0, 40.0))
    assert known.peak_share == pytest.approx(0.5)
    assert unknown.peak_share is None
    assert known.intensity == pytest.approx(2e7 / 9e4)  # of the constant, a byte of four is read


def test_a_kernel_by_a_unit_beside_the_cores_is_seen_against_the_peak_of_that() -> None:
    link = JobWorkload(job_id="job-1", workload_id="wl-1", weight=12, best_us=10.0)
    workload = make_workload(1, flops=8e6, summary="float32[100,100], float32[100,100] -> float32[100,100]")
    peak = Peak(400.0, 60.0, units={"AMX": 1600.0})
    (found,) = describe_workloads([(link, workload)], peak, units={workload.id: "AMX"})
    assert (found.unit, found.peak_share) == ("AMX", pytest.approx(0.5))
    (by_cores,) = describe_workloads([(link, workload)], peak)
    assert (by_cores.unit, by_cores.peak_share) == (None, pytest.approx(2.0))


def test_a_record_is_shown_in_microseconds() -> None:
    assert record_out(make_record("a", 25e-6, id=1, created_at=utcnow())).mean_us == pytest.approx(25.0)
    assert record_out(make_record("b", None, id=2, created_at=utcnow())).mean_us is None


def test_what_an_old_import_stored_of_no_finite_numbers_is_not_shown() -> None:
    out = record_out(
        make_record("a", math.inf, id=1, run_secs=[math.nan, None, 1.0], canary_ratio=math.nan, created_at=utcnow())
    )
    assert (out.mean_us, out.run_secs, out.canary_ratio) == (None, [1.0], None)
