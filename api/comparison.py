"""A job's comparison to pass on: a picture that needs nothing else, and a table. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from xml.sax.saxutils import escape

from api.dashboard.charts.bars import variant_name
from api.dashboard.words import milliseconds, times, weights_note
from tuner.importers.operators.files import label
from tuner.schemas import BenchmarkOut, JobOut

_WIDTH, _ROW, _TOP, _FOOT = 860, 44, 92, 58
_NAMES, _RIGHT = 230, 110  # what the bars leave to the left and to the right of them
_INK, _SOFT, _LINE, _BAR, _ACCENT = "#1c1b1a", "#6b6762", "#dedad4", "#b4b9c2", "#c2410c"
_COLUMNS = (
    "variant", "precision", "median_ms", "p10_ms", "p90_ms", "mean_ms", "std_ms", "n", "load_ms", "first_ms",
    "after_idle_ms", "memory_bytes", "max_abs_error", "threads", "machine", "created_at",
)  # fmt: skip


def as_csv(job: JobOut, benchmarks: Sequence[BenchmarkOut]) -> str:
    """A line for each contestant, fastest first, with the job and its model before it."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["job", "model", "weights", "target", "shape", *_COLUMNS])
    for one in _ordered(benchmarks):
        values = one.model_dump(mode="json", include=set(_COLUMNS))
        about = [job.id, job.model, job.weights, job.target, _shape(job)]
        lines.writerow([_plain(value) for value in (*about, *(values[name] for name in _COLUMNS))])
    return out.getvalue()


def as_svg(job: JobOut, benchmarks: Sequence[BenchmarkOut]) -> str:
    """Medians as bars, fastest on top, with whiskers from p10 to p90; where and how they were measured below."""
    ordered = _ordered(benchmarks)
    longest = max(max(one.p90_ms, one.median_ms) for one in ordered) or 1.0
    scale = (_WIDTH - _NAMES - _RIGHT) / longest
    bottom = _TOP + _ROW * len(ordered)
    first = ordered[0]
    notes = filter(None, [job.target, _shape(job), weights_note(job.weights) if job.weights == "random" else ""])
    where = f"{first.machine}, {first.threads} threads, {first.created_at:%Y-%m-%d}; bars: median, whiskers: p10 to p90"
    body = [
        _text(24, 38, label(job.model), 22, _INK, "700"),
        _text(24, 64, ", ".join(notes) + _speedup(job), 14, _SOFT),
        f'<line x1="{_NAMES}" y1="{_TOP - 6}" x2="{_NAMES}" y2="{bottom}" stroke="{_LINE}"/>',
        *(part for n, one in enumerate(ordered) for part in _bar(one, _TOP + n * _ROW, scale)),
        _text(24, bottom + 26, where, 12, _SOFT),
        _text(24, bottom + 44, f"interleaved; lower is better; TuneSmith, {job.id}", 12, _SOFT),
    ]
    height = bottom + _FOOT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif"><title>{_safe(_title(job, ordered))}</title>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(body)}</svg>\n'
    )


def _bar(one: BenchmarkOut, top: float, scale: float) -> list[str]:
    middle, end = top + _ROW / 2 - 6, _NAMES + one.median_ms * scale
    low, high = _NAMES + one.p10_ms * scale, _NAMES + one.p90_ms * scale
    colour = _ACCENT if one.variant == "tuned" else _BAR
    whisker = f'stroke="{_INK}" stroke-width="1.5"'
    return [
        _text(24, middle + 5, variant_name(one.variant), 14, _INK),
        f'<rect x="{_NAMES}" y="{middle - 12:.1f}" width="{end - _NAMES:.1f}" height="24" rx="3" fill="{colour}"/>',
        f'<line x1="{low:.1f}" y1="{middle:.1f}" x2="{high:.1f}" y2="{middle:.1f}" {whisker}/>',
        *(
            f'<line x1="{x:.1f}" y1="{middle - 5:.1f}" x2="{x:.1f}" y2="{middle + 5:.1f}" {whisker}/>'
            for x in (low, high)
        ),
        _text(max(end, high) + 10, middle + 5, milliseconds(one.median_ms), 14, _INK, "600"),
    ]


def _text(x: float, y: float, text: str, size: int, colour: str, weight: str = "400") -> str:
    style = f'font-size="{size}" fill="{colour}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{_safe(text)}</text>'


def _safe(text: str) -> str:
    """As XML has it, which knows no control characters."""
    return escape("".join(char for char in text if char.isprintable()))


def _title(job: JobOut, ordered: Sequence[BenchmarkOut]) -> str:
    told = ", ".join(f"{variant_name(one.variant)} {milliseconds(one.median_ms)}" for one in ordered)
    return f"{label(job.model)}, median latency: {told}"


def _speedup(job: JobOut) -> str:
    return f", {times(job.speedup)} as fast as PyTorch" if job.speedup else ""


def _shape(job: JobOut) -> str:
    if job.lengths:
        return f"texts of {job.lengths[0]} to {job.lengths[-1]} tokens, times of one text"
    return f"batch {job.batch} x sequence {job.seq_len}" if job.kind == "model" else ""


def _ordered(benchmarks: Sequence[BenchmarkOut]) -> list[BenchmarkOut]:
    return sorted(benchmarks, key=lambda one: one.median_ms)


def _plain(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: names are the user's."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value
