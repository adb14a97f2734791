"""Numbers, times and states in words a person reads at a glance. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tuner.spans import in_largest_unit
from tuner.state import ACTIVE

NOTHING = "–"
STAGES = ("importing", "extracting", "tuning", "compiling", "verifying", "benchmarking")
_COMPILE_ONLY = ("importing", "extracting", "compiling", "verifying")

# What the filter of the jobs page offers: its name in the URL -> the states it lets through.
FILTERS: dict[str, tuple[str, ...]] = {
    "all": (),
    "active": ACTIVE,
    "succeeded": ("succeeded",),
    "failed": ("failed",),
    "cancelled": ("cancelled",),
}

_TONES = {"submitted": "idle", "paused": "idle", "cancelled": "idle", "succeeded": "good", "failed": "bad"}
_MODEL_NOTES = {"random": "seeded random weights", "pretrained": "pretrained weights"}


@dataclass(frozen=True)
class Step:
    """One stage of the pipeline and whether the job is past it, in it, or stopped there."""

    name: str
    status: str  # done | now | stopped | todo


def tone(state: str) -> str:
    """The colour family of a state: idle, busy, good or bad."""
    return _TONES.get(state, "busy")


def weights_note(weights: str) -> str:
    """What to say about a model's weights; empty when nothing is known yet."""
    return _MODEL_NOTES.get(weights, "")


def significant(value: float, digits: int = 3) -> str:
    """``value`` with ``digits`` significant digits, never in scientific notation, thousands grouped."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    decimals = max(0, digits - 1 - _exponent(rounded))
    return f"{rounded:,.{decimals}f}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".rpartition("e")[2])


def milliseconds(value: float | None) -> str:
    """A latency given in ms: ``43.1 ms``, below a tenth of one in µs."""
    if value is None:
        return NOTHING
    return f"{significant(value)} ms" if value >= 0.1 or value == 0 else f"{significant(value * 1e3)} µs"


def microseconds(value: float | None) -> str:
    """A kernel's time given in µs, always in that unit so that a column compares: ``13,900 µs``."""
    return NOTHING if value is None else f"{significant(value)} µs"


def times(value: float | None) -> str:
    """A ratio: ``3.1×``."""
    return NOTHING if value is None else f"{significant(value, 2 if value < 100 else 3)}×"


def percent(value: float | None) -> str:
    """A share in 0..1: ``42 %``, one decimal below ten percent."""
    if value is None:
        return NOTHING
    return f"{value:.0%}".replace("%", " %") if value >= 0.1 or value == 0 else f"{value * 100:.1f} %"


def count(value: float | None) -> str:
    """A whole number with thousands grouped: ``1,000``."""
    return NOTHING if value is None else f"{value:,.0f}"


def scientific(value: float) -> str:
    """An error bound: ``3.1e-06``."""
    return f"{value:.1e}"


def size(size_bytes: int) -> str:
    """A file size in decimal units: ``418 MB``."""
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{size_bytes} B" if unit == "B" else f"{significant(amount)} {unit}"


def fact(name: str, value: object) -> tuple[str, str]:
    """A device's fact for people: ``("memory_bytes", 16500000000)`` is ``("memory", "16.5 GB")``."""
    if name == "peak" and isinstance(value, dict):
        return name, f"{significant(value['gflops'])} GFLOPS, {significant(value['gb_per_sec'])} GB/s"
    if isinstance(value, dict):
        return fact_name(name), ", ".join(f"{key} {fact(name, inner)[1]}" for key, inner in value.items())
    shown = size(value) if name.endswith("_bytes") and isinstance(value, int) else str(value)
    return fact_name(name), shown


def fact_name(name: str) -> str:
    """A fact's name without its unit."""
    return name.removesuffix("_bytes").replace("_", " ")


def duration(seconds: float | None) -> str:
    """A span in s: ``8 s``, ``5 min 12 s``, ``2 h 5 min``."""
    if seconds is None:
        return NOTHING
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = whole % 3600 // 60
    return f"{whole // 3600} h {minutes} min" if minutes else f"{whole // 3600} h"


def ago(then: datetime, now: datetime) -> str:
    """How long ago ``then`` was, in its largest unit: ``just now``, ``4 min ago``, ``3 days ago``."""
    seconds = (now - then).total_seconds()
    if seconds < 60:
        return "just now"
    return "yesterday" if seconds // 86400 == 1 else f"{in_largest_unit(seconds)} ago"


def steps(state: str, last_stage: str | None = None, compile_only: bool = False) -> list[Step]:
    """The pipeline as seen from ``state``; ``last_stage`` is where a paused, failed or cancelled job got to."""
    stages = _COMPILE_ONLY if compile_only else STAGES
    if state == "succeeded":
        return [Step(name, "done") for name in stages]
    at = "tuning" if state == "paused" else state if state in stages else last_stage
    if at not in stages:
        return [Step(name, "todo") for name in stages]
    here = stages.index(at)
    mark = "now" if state in stages else "stopped"
    return [Step(name, "done" if i < here else mark if i == here else "todo") for i, name in enumerate(stages)]
