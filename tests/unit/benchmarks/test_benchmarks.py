"""What benchmarks conclude from their numbers."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmarks import resident, service_jobs
from benchmarks.contest import Score
from benchmarks.in_torch import in_turns
from benchmarks.latency import ALL, OURS, PEERS, Case, Tuned, entry, run_all, some, table, words_of
from benchmarks.quality import time_to_quality
from benchmarks.repeat import compared
from benchmarks.resident import Sample, Sampler, growth_per_1000_trials, parts_of
from tests.support.samples import job
from tuner.bench.spec import Result, Timing
from tuner.config import Settings
from tuner.errors import InvalidInput, ServiceUnreachable, StageFailed
from tuner.schemas import CurvePoint


def timing(variant: str, median_ms: float) -> Timing:
    return Timing(variant=variant, median_ms=median_ms, p10_ms=median_ms - 1, p90_ms=median_ms + 1, n=100)


def test_latency_report_has_a_median_for_each_contestant() -> None:
    medians = {OURS: 50.0, "torch_eager": 150.0, "torch_sdpa": 130.0, "onnxruntime": 65.0, "openvino_f32": 51.0}
    assert list(medians) == [OURS, *PEERS]
    result = Result(threads=2, timings=[timing(name, ms) for name, ms in medians.items()])
    tuned = Tuned(Case("bert-base-uncased", 1, 128), "job-1", Path("a.tar"), 48.0, 1000)
    found = entry(tuned, result)
    assert {name: found[f"{name}_ms"] for name in medians} == medians
    assert (found["model"], found["batch"], found["seq"]) == ("bert-base-uncased", 1, 128)
    assert "1.02x" in list(table([found]).columns[-1].cells)


def test_a_case_that_fails_is_named_with_its_reason_and_ends_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    cases = [Case("bert", 1, 128), Case("bert", 8, 384), Case("minilm", 1, 32)]
    kept: list[list[str]] = []

    def run(case: Case) -> dict[str, Any]:
        if case.batch == 8:
            raise StageFailed("The benchmark process ended with code -9.", "Its last words: Killed")
        return {"model": case.model}

    found, failed = run_all(cases, run, lambda entries: kept.append([one["model"] for one in entries]))
    assert [one["model"] for one in found] == ["bert", "minilm"]
    assert failed == [cases[1]]
    assert kept == [["bert"], ["bert", "minilm"]]
    said = capsys.readouterr().err
    assert "bert 8 x 384 failed: The benchmark process ended with code -9. Its last words: Killed" in said


def test_a_part_of_the_benchmark_is_of_all_unless_some_are_named() -> None:
    assert words_of("--precisions", ["--seq", "16", "--precisions"]) == ["--seq", "16", "--precisions", ALL]
    assert words_of("--precisions", ["--precisions", "--seq", "16"]) == ["--precisions", ALL, "--seq", "16"]
    assert words_of("--precisions", ["--precisions", "int8"]) == ["--precisions", "int8"]
    assert some(ALL, ["bf16", "int8"], "precision") == ["bf16", "int8"]
    assert some("int8", ["bf16", "int8"], "precision") == ["int8"]
    with pytest.raises(InvalidInput, match="no precision 'int4'"):
        some("int8,int4", ["bf16", "int8"], "precision")


def test_an_artifact_is_found_by_its_id_whatever_its_checksum(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    settings.artifacts_dir.mkdir()
    for name in ("art-1-abc.tar", "art-2-def.tar"):
        (settings.artifacts_dir / name).touch()
    found = service_jobs.artifact_of(settings, job(artifact_id="art-2"))
    assert found.name == "art-2-def.tar"


def test_candidates_a_second_count_only_those_that_got_a_time() -> None:
    assert Score(tried=60, failed=10, seconds=100.0, best_us={}).per_sec == 0.5


def samples(run: str, base: int, per_trial: int) -> list[Sample]:
    return [
        Sample(run=run, t_sec=n, trials=1000 + n, parts={"web": base, "engine": per_trial * n})
        for n in range(0, 900, 5)
    ]


def test_growth_is_the_slope_within_runs_whatever_they_start_from() -> None:
    assert growth_per_1000_trials(samples("a", 10**9, 70)) == pytest.approx(70_000, rel=0.01)
    both = samples("a", 10**9, 70) + samples("b", 3 * 10**9, 70)
    assert growth_per_1000_trials(both) == pytest.approx(70_000, rel=0.01)


def test_growth_is_unknown_before_enough_trials() -> None:
    assert growth_per_1000_trials([]) is None
    assert growth_per_1000_trials(samples("a", 10**9, 70)[:20]) is None


def test_processes_that_are_gone_hold_nothing() -> None:
    assert parts_of({"web": 2**22 + 1}) == {"supervisor": 0, "web": 0}


def test_memory_is_sampled_on_when_the_service_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "EVERY_SEC", 0.001)
    run_file, target = tmp_path / "run.json", tmp_path / "samples.jsonl"
    run_file.write_text(json.dumps({"started_at": "now", "pids": {}}))
    asked, last = itertools.count(), threading.Event()

    def trials() -> int:
        number = next(asked)
        if number == 1:
            raise ServiceUnreachable("It restarts.")
        if number == 3:
            last.set()
            raise RuntimeError("The disk is full.")
        return number

    with pytest.raises(RuntimeError, match="disk"), Sampler(run_file, trials, target):
        assert last.wait(60)
    assert [sample.trials for sample in resident.load(target)] == [0, 2]


def test_time_to_quality_is_the_best_until_then() -> None:
    curve = [
        CurvePoint(t_sec=sec, trials=trials, predicted_ms=ms)
        for sec, trials, ms in ((20, 16, None), (50, 64, 90.0), (110, 128, 60.0), (290, 256, 63.0), (400, 512, 50.0))
    ]
    rows = time_to_quality(curve)
    assert [(row["minutes"], row["trials"], row["predicted_ms"]) for row in rows] == [
        (1, 64, 90.0),
        (2, 128, 60.0),
        (5, 256, 60.0),
        (pytest.approx(400 / 60), 512, 50.0),
    ]
    assert rows[1]["behind"] == pytest.approx(0.2)
    assert rows[-1]["behind"] == 0.0
    assert time_to_quality(curve[:1]) == []


def test_repeated_jobs_are_compared_by_what_was_measured_side_by_side() -> None:
    jobs = [
        job(id="job-1", predicted_ms=49.0, latency_ms=50.0),
        job(id="job-2", predicted_ms=56.1, latency_ms=55.0),
    ]
    found = compared(jobs, Result(threads=2, timings=[timing("job-1", 50.0), timing("job-2", 51.0)]))
    assert found["spread"] == pytest.approx(0.02)
    assert found["prediction_error"] == pytest.approx(0.02)
    assert [row["prediction_error"] for row in found["jobs"]] == [pytest.approx(-0.02), pytest.approx(0.02)]


def test_calls_that_are_compared_take_turns() -> None:
    called: list[str] = []
    times = in_turns({name: lambda name=name: called.append(name) for name in ("run", "as_torch")}, 3)
    assert called == ["run", "as_torch"] * 13
    assert [len(times[name]) for name in times] == [3, 3]
