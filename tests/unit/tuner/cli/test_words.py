"""Numbers and sentences as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tests.support.samples import benchmark, finished_job, job
from tuner.cli import words
from tuner.schemas import LeftOut, LegacyPoint, TargetOut
from tuner.targets.presets import resolve


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.4, "0 s"), (59, "59 s"), (59.7, "1 min 00 s"), (380, "6 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.512, "0.512 ms"), (43.21, "43.2 ms"), (99.96, "100 ms"), (147.4, "147 ms")]
)
def test_milliseconds(value: float | None, text: str) -> None:
    assert words.milliseconds(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (2048, "2 KiB"), (438 * 2**20, "438 MiB"), (3 * 2**30, "3.0 GiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert words.size(count) == text


def test_ago_takes_the_services_times_as_utc() -> None:
    now = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
    assert words.ago(now.replace(tzinfo=None) - timedelta(minutes=5), now) == "5 min ago"
    assert words.ago(now - timedelta(hours=30), now) == "1 day ago"
    assert words.ago(now + timedelta(seconds=3), now) == "0 s ago"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("m1-cpu", "peak 410 GFLOPS by its cores, 1,638 by AMX, 68.3 GB/s, computed"),
        ("m1-metal", "peak 2,617 GFLOPS, 68.3 GB/s, computed"),
        ("linux-arm64", "peak not measured yet"),
    ],
)
def test_a_target_tells_the_peak_of_what_is_beside_its_cores(name: str, said: str) -> None:
    found = resolve(name, "local")
    told = {field: getattr(found, field) for field in TargetOut.model_fields if field != "device_online"}
    assert said in words.target(TargetOut(**told, device_online=False)).splitlines()[3]


def test_coverage_is_of_three_kinds_where_the_manifest_knows_them() -> None:
    assert words.coverage({"coverage": 0.5, "guessed": 0.25}) == "50% measured, 25% guessed, 25% plain"
    assert words.coverage({"coverage": 0.5}) == "50%"


def test_a_predicted_latency_is_marked() -> None:
    assert words.best_latency(job(predicted_ms=45.0)) == "~45 ms"
    assert words.best_latency(finished_job()) == "43.2 ms"


@pytest.mark.parametrize(
    ("state", "wish", "said"),
    [
        ("extracting", "cancel", ", ends within seconds"),
        ("tuning", "pause", ", pauses after the present round"),
        ("importing", "pause", ", pauses before it tunes"),
        ("paused", "", ""),
    ],
)
def test_what_was_asked_of_a_job_says_when_it_happens(state: str, wish: str, said: str) -> None:
    assert words.granted(job(state=state, wish=wish)) == said


def test_state_line_says_how_far_and_how_fast() -> None:
    assert words.state_line(job()) == "tuning  320/1000 trials  2.5 trials/s  best 61.5 ms  2 to 5 min left"
    assert words.state_line(job(state="importing", message="reading weights")) == "importing  reading weights"


def test_verdict_marks_random_weights() -> None:
    assert words.verdict(finished_job()) == "bert-base-uncased runs in 43.2 ms, 3.10x PyTorch's 134 ms"
    assert words.verdict(finished_job(weights="random")).endswith("(seeded random weights)")


def test_verdict_calls_no_winner_while_chance_may_have_made_the_difference() -> None:
    close = [benchmark("tuned", 43.2), benchmark("torch-sdpa", 44.0), benchmark("torch-eager", 147.0)]
    assert words.verdict(finished_job(baseline_ms=44.0), close).endswith(
        "about as fast as PyTorch's 44 ms: the difference may be chance"
    )
    apart = [benchmark("tuned", 43.2), benchmark("torch-sdpa", 134.0)]
    assert "3.10x PyTorch's 134 ms" in words.verdict(finished_job(), apart)


def test_verdict_of_a_failed_job_is_its_error() -> None:
    failed = job(state="failed", error={"code": "stage_failed", "message": "It broke."})
    assert words.verdict(failed) == "It broke."
    assert words.verdict(job(state="cancelled")) == "cancelled"


def test_an_operator_has_no_batch_and_its_verdict_names_its_speed() -> None:
    done = finished_job(model="op:gemm:128,3072,768", kind="operator", gflops=479.3, latency_ms=1.26, weights="unknown")
    assert words.shape(done) == words.DASH
    assert words.verdict(done) == "op:gemm:128,3072,768 runs in 1.26 ms, 3.10x PyTorch's 134 ms, 479 GFLOPS"


def test_speeds_stand_beside_the_peak() -> None:
    manifest = {"gflops": {"tuned": 450.0, "torch-eager": 225.0}, "peak_gflops": 500.0, "peak_source": "measured"}
    line = words.of_peak(manifest)
    assert "tuned 450 (90% of the peak), torch-eager 225 (45% of the peak); peak of the target 500, measured" in line
    assert words.of_peak({"gflops": {"tuned": 450.0}}) == "GFLOPS: tuned 450; peak of the target unknown"


def test_the_way_to_the_best_is_told_in_at_most_five_steps() -> None:
    points = [LegacyPoint(t_sec=float(n), best_us=100.0 - n, gflops=100.0 + n) for n in range(41)]
    assert words.legacy_curve(points) == "100 at 0 s, 110 at 10 s, 120 at 20 s, 130 at 30 s, 140 at 40 s"
    assert words.legacy_curve(points[:1]) == "100 at 0 s"
    assert words.legacy_curve([]) == words.DASH


def test_an_export_that_lacks_records_says_so_at_its_end() -> None:
    last = LeftOut(left_out=3, reason="record 7: too odd").model_dump_json().encode()
    assert words.left_out(b'{"v":1,"workload":{}}\n' + last + b"\n").startswith("3 records were left out")
    assert words.left_out(b'{"v":1,"workload":{}}\n') == words.left_out(b"") == ""


def test_what_was_brought_is_said_as_far_as_it_is_known() -> None:
    manifest = {
        "model": {"id2label": {"0": "NO", "1": "YES"}, "problem_type": "single_label_classification"},
        "tokenizer": ["tokenizer.json"],
        "faithful": {"cases": ["full", "empty"], "max_abs_error": 1.2e-6, "max_rel_error": 1e-5},
    }
    assert words.brought(manifest).splitlines() == [
        "2 labels: NO, YES (single_label_classification)",
        "tokenizer: tokenizer.json",
        "from the library's own forward at most 1.2e-06 off (rows: full, empty)",
    ]
    assert "tokenizer: none" in words.brought(manifest | {"tokenizer": []})
    prompts = {"model": {"prompts": {"query": "q: "}, "default_prompt_name": "query"}}
    assert words.brought(prompts) == "prompts: query; by default query"
    lost = {"sentences": 202, "cosine_mean": 0.998791, "cosine_min": 0.995914, "neighbours": 0.945}
    assert words.brought({"precision": "int8", "verification": {"fidelity": lost}}) == (
        "int8 against float32 on 202 sentences: cosine 0.99879 in the mean, 0.99591 at worst; "
        "94.5% of nearest neighbours kept"
    )
    layers = {"alone": {"layer.0": 0.999, "layer.1": 0.99}, "worst": "layer.1", "spared": 0.9985, "together": 0.98879}
    assert words.fidelity("int8", lost | {"layers": layers}).endswith(
        "kept; layer.1 loses most: cosine 0.99000 where it alone is rounded, 0.99850 where all others are, "
        "0.98879 where all are"
    )
    texts = {"own_neighbours": 0.9, "has_labels": True, "decisions": 0.995, "max_abs_error": 0.0123}
    assert words.fidelity("int8", lost | {"own_texts": 40} | texts).endswith(
        "94.5% of nearest neighbours kept, 90.0% among your own texts, 99.5% of labels, the largest difference 1.2e-02"
    )
    assert words.brought({}) == "", "of an operator, or from before it was kept"
