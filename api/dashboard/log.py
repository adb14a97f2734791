"""Events as lines a person reads. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.dashboard.charts.bars import variant_name
from api.dashboard.words import count, microseconds, milliseconds, size
from tuner.db.models import Event

Data = Mapping[str, Any]


@dataclass(frozen=True)
class LogEntry:
    """One line of a job's log."""

    id: int
    at: datetime
    kind: str
    text: str


def entry(event: Event, workload_names: Mapping[str, str]) -> LogEntry:
    """The line of a stored event; workloads are called by their names where those are known."""
    data = dict(event.data)
    if "workload_id" in data:
        data["workload"] = workload_names.get(data["workload_id"], data["workload_id"])
    return LogEntry(event.id or 0, event.created_at, event.kind, text(event.kind, data))


def text(kind: str, data: Data) -> str:
    """What an event says; of a kind this page has no words for, each value with its name."""
    told = _TOLD.get(kind)
    try:
        return told(data) if told else _plainly(data)
    except KeyError:  # written by another release
        return _plainly(data)


def _state(data: Data) -> str:
    return f"{data['state']}: {data['message']}" if data.get("message") else str(data["state"])


def _round(data: Data) -> str:
    failed = f", {count(data['failed'])} failed" if data.get("failed") else ""
    best = f", best {microseconds(data['best_us'])}" if data.get("best_us") is not None else ""
    model = f"; the model is at {milliseconds(data['predicted_ms'])}" if data.get("predicted_ms") is not None else ""
    return f"{data['workload']}: {count(data['measured'])} measured{failed}{best}{model}"


def _benchmark(data: Data) -> str:
    return ", ".join(f"{variant_name(name)} {milliseconds(ms)}" for name, ms in data.items())


def _plainly(data: Data) -> str:
    plain = {key: value for key, value in data.items() if not isinstance(value, list | dict)}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in plain.items())


_TOLD: dict[str, Callable[[Data], str]] = {
    "state": _state,
    "message": lambda data: str(data["message"]),
    "round": _round,
    "workloads": lambda data: f"{count(data['count'])} found",
    "benchmark": _benchmark,
    "artifact": lambda data: f"{data['artifact_id']}, {size(data['size_bytes'])}",
}
