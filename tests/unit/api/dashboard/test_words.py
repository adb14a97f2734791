"""Numbers, times, states and hints as the dashboard says them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from api.dashboard import words
from api.dashboard.log import entry, text
from api.dashboard.rendering import code_spans
from tuner.db.models import Event


@pytest.mark.parametrize(
    ("value", "said"),
    [(43.1234, "43.1 ms"), (134.2, "134 ms"), (1234.5, "1,230 ms"), (0.0421, "42.1 µs"), (0.0, "0 ms"), (None, "–")],
)
def test_latency(value: float | None, said: str) -> None:
    assert words.milliseconds(value) == said


@pytest.mark.parametrize(("value", "said"), [(925.4, "925 µs"), (13_900, "13,900 µs"), (9.999, "10.0 µs"), (None, "–")])
def test_kernel_time_stays_in_one_unit(value: float | None, said: str) -> None:
    assert words.microseconds(value) == said


@pytest.mark.parametrize(("value", "said"), [(3.14, "3.1×"), (0.87, "0.87×"), (12.3, "12×"), (250.4, "250×")])
def test_ratio(value: float, said: str) -> None:
    assert words.times(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(8, "8 s"), (59.6, "1 min"), (312, "5 min 12 s"), (600, "10 min"), (7500, "2 h 5 min"), (-3, "0 s"), (None, "–")],
)
def test_duration(value: float | None, said: str) -> None:
    assert words.duration(value) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0 B"), (999, "999 B"), (438_112_256, "438 MB"), (2_500_000_000, "2.50 GB")]
)
def test_size(value: int, said: str) -> None:
    assert words.size(value) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0.994, "99 %"), (0.031, "3.1 %"), (0.0, "0 %"), (1.0, "100 %"), (None, "–")]
)
def test_share(value: float | None, said: str) -> None:
    assert words.percent(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "just now"), (240, "4 min ago"), (7300, "2 h ago"), (100_000, "yesterday"), (260_000, "3 days ago")],
)
def test_ago(seconds: float, said: str) -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
    assert words.ago(now - timedelta(seconds=seconds), now) == said


def test_steps_of_a_running_job() -> None:
    statuses = [step.status for step in words.steps("tuning")]
    assert statuses == ["done", "done", "now", "todo", "todo", "todo"]


def test_steps_of_a_failed_job_show_where_it_stopped() -> None:
    assert [s.name for s in words.steps("failed", "verifying") if s.status == "stopped"] == ["verifying"]


def test_steps_of_a_paused_job_stop_at_tuning() -> None:
    assert [s.name for s in words.steps("paused", "tuning") if s.status == "stopped"] == ["tuning"]


def test_steps_before_the_first_and_after_the_last() -> None:
    assert {s.status for s in words.steps("submitted")} == {"todo"}
    assert {s.status for s in words.steps("succeeded")} == {"done"}


def test_a_hint_shows_its_commands_as_code_and_escapes_the_rest() -> None:
    assert str(code_spans("Run `a <b>` & wait.")) == "Run <code>a &lt;b&gt;</code> &amp; wait."


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("state", {"state": "tuning", "message": "tuning", "progress": 0.1}, "tuning: tuning"),
        ("state", {"state": "failed"}, "failed"),
        ("message", {"message": "waiting", "wish": ""}, "waiting"),
        ("workloads", {"count": 14}, "14 found"),
        ("benchmark", {"tuned": 51.3, "torch-sdpa": 134.2}, "TuneSmith, tuned 51.3 ms, PyTorch SDPA 134 ms"),
        ("artifact", {"artifact_id": "art-1", "size_bytes": 1000}, "art-1, 1.00 kB"),
        ("round", {"trials": 7, "made": [1, 2]}, "trials 7"),
        ("news", {"some_thing": 7}, "some thing 7"),
    ],
)
def test_each_kind_of_event_in_words(kind: str, data: dict[str, Any], said: str) -> None:
    assert text(kind, data) == said


def test_a_round_names_its_workload_and_what_came_of_it() -> None:
    data = {"workload_id": "wl-1", "measured": 16, "failed": 2, "best_us": 925.4, "predicted_ms": 48.93}
    event = Event(id=3, kind="round", data=data)
    line = "fused_matmul: 16 measured, 2 failed, best 925 µs; the model is at 48.9 ms"
    assert entry(event, {"wl-1": "fused_matmul"}).text == line


def test_a_fact_of_bytes_is_said_in_larger_units() -> None:
    assert words.fact("memory_bytes", 16_500_000_000) == ("memory", "16.5 GB")
    assert words.fact("logical_cores", 4) == ("logical cores", "4")
    assert words.fact("peak", {"gflops": 233.31, "gb_per_sec": 51.1}) == ("peak", "233 GFLOPS, 51.1 GB/s")
