"""What a finished job achieved, in one sentence, and the evidence for it. Pure functions of what the API returns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.dashboard.charts.bars import variant_name
from api.dashboard.words import count, milliseconds, percent, scientific, significant, times
from tuner.bench.rivals import fastest_pytorch, is_undecided
from tuner.graph import places
from tuner.importers.layers import what_changed
from tuner.jobs.contest import in_words
from tuner.schemas import BenchmarkOut, JobOut

CANARY_TOLERANCE = 0.1  # a machine whose canary kernel moved further than this was not quiet
PREDICTION_TOLERANCE = 0.05  # of a model's latency, by which the sum of its kernels may miss it
LOAD_CHECKS = {
    "device": "The library was loaded and run on the device",
    "symbols": "Its format, entries and every symbol it needs were checked; no device of its kind has run it yet",
    "none": "No device of its kind has run it yet",
}

PEAK_SOURCES = {
    "measured": "multiply-adds on registers reach there, as measured",
    "computed": "its units reach at their clock, as computed",
}


@dataclass(frozen=True)
class Headline:
    """The result in large type: ``3.1× faster than PyTorch``, and the two numbers behind it."""

    text: str
    detail: str
    tone: str  # good | idle | bad


@dataclass(frozen=True)
class Evidence:
    """One reason to trust, or not to trust, the numbers."""

    label: str
    value: str
    note: str
    ok: bool | None = None  # None: a plain fact


@dataclass(frozen=True)
class CanaryDrift:
    """How much the device's speed moved while a job measured."""

    rounds: int
    usual: float  # nine in ten rounds saw |canary ratio - 1| of at most this


def canary_drift(ratios: Sequence[float]) -> CanaryDrift | None:
    """The drift over a job's rounds from their canary ratios (1: as fast as at the start); None without any."""
    if not ratios:
        return None
    moved = sorted(abs(ratio - 1) for ratio in ratios)
    return CanaryDrift(len(moved), moved[max(0, math.ceil(0.9 * len(moved)) - 1)])


def headline(
    job: JobOut, benchmarks: Sequence[BenchmarkOut], manifest: Mapping[str, Any] | None = None
) -> Headline | None:
    """The speedup over the best PyTorch variant of the same run, else what else there is to say; None before the end.

    PyTorch is not timed on a device elsewhere, and nothing is in a job that only compiles.
    """
    if job.speedup is None or job.latency_ms is None or job.baseline_ms is None:
        return _without_pytorch(job, manifest) if manifest else None
    best = fastest_pytorch(benchmarks)
    name = variant_name(best.variant) if best else "PyTorch"
    detail = f"{milliseconds(job.latency_ms)} vs {milliseconds(job.baseline_ms)} with {name}"
    if is_undecided(benchmarks):
        return Headline("About as fast as PyTorch", f"{detail}; the difference may be chance", "idle")
    if job.speedup >= 1:
        return Headline(f"{times(job.speedup)} faster than PyTorch", detail, "good")
    return Headline(f"{times(1 / job.speedup)} slower than PyTorch", detail, "bad")


def _without_pytorch(job: JobOut, manifest: Mapping[str, Any]) -> Headline:
    if job.latency_ms is not None:
        device = (manifest.get("device") or {}).get("cpu") or job.target
        return Headline(f"{milliseconds(job.latency_ms)} on {device}", "timed without PyTorch beside it", "good")
    records, kernels = manifest.get("records", 0), manifest.get("kernels", 0)
    detail = f"{records} of {kernels} kernels from records, the rest by guesses or plain; no device has timed it"
    return Headline(f"Compiled for {job.target}, {manifest.get('tested', 'not load-tested')}", detail, "idle")


def evidence(
    manifest: Mapping[str, Any], benchmarks: Sequence[BenchmarkOut], drift: CanaryDrift | None
) -> list[Evidence]:
    """Why the numbers can be trusted: outputs, timing, machine, coverage. Leaves out what is not known."""
    found = [
        _outputs(manifest.get("verification") or {}),
        _precisions(manifest),
        _faithful(manifest.get("faithful") or {}),
        _timing(benchmarks),
        _as_predicted(manifest),
        _quiet_machine(drift),
        _arithmetic(manifest.get("gflops") or {}, manifest.get("peak_gflops"), manifest.get("peak_source")),
        _coverage(manifest.get("coverage"), manifest.get("guessed")),
        _machine(benchmarks),
        _left_out(manifest.get("left_out") or []),
        _given_up(manifest.get("given_up") or []),
        _places(manifest.get("places")),
        _load_check(manifest),
        _weights(manifest.get("weights")),
        _versions(manifest.get("versions") or {}),
    ]
    return [item for item in found if item is not None]


def _outputs(check: Mapping[str, Any]) -> Evidence | None:
    """What the verification found. It judges each output by either tolerance, and none that fails gets this far; the
    two errors may be of different outputs, so they can't be judged again here."""
    if lost := check.get("fidelity"):
        note = f"cosine to float32 on {lost['sentences']} sentences, {lost['cosine_min']:.4f} at worst"
        return Evidence("Same meaning", f"{lost['cosine_mean']:.5f}", f"{note}, {what_changed(lost)}", True)
    if "max_abs_error" not in check or "max_rel_error" not in check:
        return None
    absolute, relative, allowed = check["max_abs_error"], check["max_rel_error"], check.get("tolerance") or {}
    notes = [f"largest absolute difference from {check.get('against', 'PyTorch')}", f"relative {scientific(relative)}"]
    if allowed:
        limits = f"{scientific(allowed['absolute'])} or relative {scientific(allowed['relative'])}"
        notes.append(f"each output within {limits}")
    if check.get("inputs"):
        notes.append(f"on {check['inputs']}")
    return Evidence("Same outputs", scientific(absolute), ", ".join(notes), True)


def _precisions(manifest: Mapping[str, Any]) -> Evidence | None:
    """The quickest of several precisions, beside the others."""
    if not (tried := manifest.get("precisions")):
        return None
    return Evidence("Quickest near enough", str(manifest["precision"]), in_words(tried), True)


def _faithful(check: Mapping[str, Any]) -> Evidence | None:
    """What the check of the import found: is it the library's model? One that is not gets no further."""
    if "max_abs_error" not in check:
        return None
    note = f"largest difference from the library's own forward, on rows that are {', '.join(check.get('cases', []))}"
    return Evidence("Same model", scientific(check["max_abs_error"]), note, True)


def _timing(benchmarks: Sequence[BenchmarkOut]) -> Evidence | None:
    tuned = next((b for b in benchmarks if b.variant == "tuned"), None)
    if tuned is None:
        return None
    spread = f"{milliseconds(tuned.p10_ms)} – {milliseconds(tuned.p90_ms)}"
    where = "in one process" if tuned.load_ms is None else "each in a process of its own"
    note = f"p10 – p90 of {count(tuned.n)} runs, interleaved with the other variants, {where}"
    if tuned.mean_ms is not None and tuned.std_ms is not None:
        note += f"; mean {milliseconds(tuned.mean_ms)} (standard deviation {milliseconds(tuned.std_ms)})"
    return Evidence("Repeatable", spread, note, tuned.p90_ms <= tuned.p10_ms * (1 + 2 * CANARY_TOLERANCE))


def _as_predicted(manifest: Mapping[str, Any]) -> Evidence | None:
    predicted, measured = manifest.get("predicted_ms"), (manifest.get("latency") or {}).get("median_ms")
    if not predicted or not measured:
        return None
    off = measured / predicted - 1
    note = (
        f"its kernels, timed one by one, add up to {milliseconds(predicted)}; the whole takes {milliseconds(measured)}"
    )
    canary = manifest.get("canary") or {}
    if canary.get("kernels_us") and canary.get("model_us"):
        moved = canary["model_us"] / canary["kernels_us"] - 1
        if abs(moved) > PREDICTION_TOLERANCE:
            word = "slower" if moved > 0 else "faster"
            note += f", on a machine that had become {percent(abs(moved))} {word}, by a fixed reference kernel"
    return Evidence("As predicted", f"{off * 100:+.1f} %".replace("-", "−"), note, abs(off) <= PREDICTION_TOLERANCE)


def _quiet_machine(drift: CanaryDrift | None) -> Evidence | None:
    if drift is None:
        return None
    note = f"most a fixed reference kernel moved in nine of ten of {count(drift.rounds)} rounds"
    return Evidence("Quiet machine", f"± {percent(drift.usual)}", note, drift.usual <= CANARY_TOLERANCE)


def _arithmetic(gflops: Mapping[str, float], peak: float | None, source: str | None) -> Evidence | None:
    if peak is None or "tuned" not in gflops:
        return None
    reach = PEAK_SOURCES.get(source or "", "the target reaches")
    note = f"{percent(gflops['tuned'] / peak)} of the {significant(peak)} that {reach}"
    best = max((value for name, value in gflops.items() if name.startswith("torch")), default=None)
    against = f"; PyTorch {significant(best)}" if best is not None else ""
    return Evidence("Arithmetic", f"{significant(gflops['tuned'])} GFLOPS", note + against)


def _coverage(coverage: float | None, guessed: float | None) -> Evidence | None:
    """A module made before there were guesses does not tell what of the rest is plain."""
    if coverage is None:
        return None
    note = "of the arithmetic runs in kernels that were measured"
    if guessed is not None:
        plain = max(0.0, 1 - coverage - guessed)
        note += f", {percent(guessed)} in guesses by a model of the core, {percent(plain)} in plain ones"
    return Evidence("Coverage", percent(coverage), note, coverage >= 0.9)


def _left_out(reasons: Sequence[str]) -> Evidence | None:
    if not reasons:
        return None
    return Evidence("Left out", f"{len(reasons)} record{'s' if len(reasons) != 1 else ''}", "; ".join(reasons), False)


def _given_up(reasons: Sequence[str]) -> Evidence | None:
    if not reasons:
        return None
    return Evidence("Given up", f"{len(reasons)} kernel{'s' if len(reasons) != 1 else ''}", "; ".join(reasons), False)


def _machine(benchmarks: Sequence[BenchmarkOut]) -> Evidence | None:
    if not benchmarks:
        return None
    threads = sorted({b.threads for b in benchmarks})
    same = len(threads) == 1
    value = f"{threads[0]} thread{'s' if threads[0] != 1 else ''}" if same else "differing threads"
    return Evidence("Same terms", value, f"for every variant, on {benchmarks[0].machine}", same)


def _places(found: Mapping[str, Any] | None) -> Evidence | None:
    """Where the kernels run; said of a module for a GPU, as on a CPU there is one place only."""
    if not found or set(found["launches"]) <= {places.CPU}:
        return None
    copies = found["host_copies"]
    stays = not copies and places.CPU not in found["launches"]
    return Evidence("Stays on the GPU", f"{copies} host copies", places.in_words(found), stays)


def _load_check(manifest: Mapping[str, Any]) -> Evidence | None:
    level = manifest.get("load_check")
    if level is None:
        return None
    words = manifest.get("tested") or ("tested" if level == "device" else "not load-tested")
    return Evidence("Loads", words, LOAD_CHECKS.get(level, level), level == "device")


def _weights(weights: str | None) -> Evidence | None:
    if weights != "random":
        return None
    note = "seeded random weights: the timing is real, what the model answers is not"
    return Evidence("Weights", "random", note, False)


def _versions(versions: Mapping[str, Any]) -> Evidence | None:
    if not versions:
        return None
    return Evidence("Built with", ", ".join(f"{name} {version}" for name, version in versions.items()), "")
