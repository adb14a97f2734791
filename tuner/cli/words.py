"""Numbers as people read them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from pydantic import ValidationError

from tuner.bench.rivals import is_undecided
from tuner.graph import places
from tuner.importers.layers import what_changed
from tuner.jobs.contest import in_words
from tuner.jobs.eta import time_left
from tuner.schemas import BenchmarkOut, JobOut, LeftOut, LegacyOut, LegacyPoint, TargetOut
from tuner.spans import in_largest_unit

DASH = "–"


def milliseconds(value: float | None) -> str:
    """A latency: ``43.2 ms``."""
    return DASH if value is None else f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"


def mean(mean_ms: float | None, std_ms: float | None) -> str:
    """A mean latency with its standard deviation: ``43.6 (1.39) ms``."""
    return DASH if mean_ms is None or std_ms is None else f"{mean_ms:.3g} ({std_ms:.3g}) ms"


def mean_time(mean_ms: float, std_ms: float) -> str:
    """The same as TVM's own examples print it: ``Mean inference time (std dev): 35.54 ms (1.39 ms)``."""
    return f"Mean inference time (std dev): {mean_ms:.2f} ms ({std_ms:.2f} ms)"


def how_compared(benchmarks: Sequence[BenchmarkOut]) -> str:
    """On what terms contestants were timed."""
    first = benchmarks[0]
    where = "each in a process of its own" if any(b.load_ms is not None for b in benchmarks) else "in one process"
    return f"interleaved, {where}, {first.threads} threads, {first.machine}"


def microseconds(value: float | None) -> str:
    """A kernel's time: ``925 us``, ``17.2 us``."""
    return DASH if value is None else f"{value:.1f} us" if value < 100 else f"{value:,.0f} us"


def duration(seconds: float | None) -> str:
    """``45 s``, ``6 min 20 s``, ``2 h 05 min``."""
    if seconds is None:
        return DASH
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def gflops(value: float | None) -> str:
    """A speed: ``479 GFLOPS``."""
    return DASH if value is None else f"{value:.3g} GFLOPS" if value < 100 else f"{value:,.0f} GFLOPS"


def of_peak(manifest: Mapping[str, Any]) -> str:
    """``GFLOPS: tuned 479 (90% of the peak); peak of the target 530, measured``, from an operator's manifest."""
    peak = manifest.get("peak_gflops")
    part = {name: f" ({value / peak:.0%} of the peak)" if peak else "" for name, value in _speeds(manifest).items()}
    each = ", ".join(f"{name} {value:,.0f}{part[name]}" for name, value in _speeds(manifest).items())
    known = f"peak of the target {peak:,.0f}, {manifest['peak_source']}" if peak else "peak of the target unknown"
    return f"GFLOPS: {each or DASH}; {known}"


def _speeds(manifest: Mapping[str, Any]) -> Mapping[str, float]:
    return manifest.get("gflops") or {}


def compiled(manifest: Mapping[str, Any]) -> str:
    """What a person should know of a module that no device has timed, in a few lines."""
    binary, check = manifest["binary"], manifest.get("verification")
    lines = [
        f"{manifest['library']}: {binary['format']}" + (f", {binary['minimum_os']}" if "minimum_os" in binary else ""),
        f"coverage {coverage(manifest)}: {manifest['records']} of {manifest['kernels']} kernels from records",
        f"{manifest['tested']}" + (", every symbol checked" if manifest["load_check"] == "symbols" else ""),
    ]
    lines += [f"left out: {reason}" for reason in manifest.get("left_out", [])]
    if check and "fidelity" not in check:
        lines.append(f"largest difference from {check.get('against', 'PyTorch')}: {check['max_abs_error']:.1e}")
    return "\n".join(lines)


def coverage(manifest: Mapping[str, Any]) -> str:
    """How the kernels were chosen that do a module's arithmetic; of a module made before guesses, what was measured."""
    measured, guessed = manifest["coverage"], manifest.get("guessed")
    if guessed is None:
        return f"{measured:.0%}"
    parts = {"measured": measured, "guessed": guessed, "plain": max(0.0, 1 - measured - guessed)}
    return ", ".join(f"{part:.0%} {name}" for name, part in parts.items())


def fidelity(precision: str, found: Mapping[str, Any]) -> str:
    """What a lower precision loses."""
    own = f", {found['own_texts']} of them yours" if found.get("own_texts") else ""
    return (
        f"{precision} against float32 on {found['sentences']} sentences{own}: cosine {found['cosine_mean']:.5f} in the "
        f"mean, {found['cosine_min']:.5f} at worst; {what_changed(found)}"
    )


def brought(manifest: Mapping[str, Any]) -> str:
    """What was compiled and how it is used, in a few lines: its labels, its tokenizer, and how near it is to what the
    library computes."""
    model, lines = manifest.get("model") or {}, []
    if labels := model.get("id2label"):
        problem = f" ({model['problem_type']})" if model.get("problem_type") else ""
        lines.append(f"{len(labels)} labels: {', '.join(labels.values())}{problem}")
    if prompts := model.get("prompts"):
        lines.append(f"prompts: {', '.join(prompts)}; by default {model.get('default_prompt_name') or 'none'}")
    if "tokenizer" in manifest and manifest.get("faithful"):
        lines.append(f"tokenizer: {', '.join(manifest['tokenizer']) or 'none'}")
    if check := manifest.get("faithful"):
        rows = ", ".join(check["cases"])
        lines.append(f"from the library's own forward at most {check['max_abs_error']:.1e} off (rows: {rows})")
    if found := manifest.get("places"):
        lines.append(f"runs: {places.in_words(found)}")
    if lost := (manifest.get("verification") or {}).get("fidelity"):
        lines.append(fidelity(manifest["precision"], lost))
    if tried := manifest.get("precisions"):
        lines.append(f"{manifest['precision']} is the quickest near enough: {in_words(tried)}")
    return "\n".join(lines)


def target(one: TargetOut) -> str:
    """What there is to know of a target, in a few lines; ``--json`` has TVM's own description as well."""
    cpu = (one.tvm.get("host") or one.tvm).get("mcpu")
    lines = [
        f"{one.name}: {one.description}",
        f"device {one.device_key}, {'online' if one.device_online else 'not there'}",
        ", ".join(filter(None, [one.tvm["kind"], cpu, one.host_triple, one.suffix]))
        + (f", {one.cores} performance cores" if one.cores else ""),
        _peak(one),
    ]
    if group := one.threadgroup:
        limits = f"{group.max_threads} threads, {size(group.memory_bytes)}, simdgroups of {group.simd_width}"
        lines.append(f"threadgroup of at most {limits}")
    return "\n    ".join(lines)


def _peak(one: TargetOut) -> str:
    if one.peak_gflops is None:
        return "peak not measured yet"
    beside = "".join(f", {gflops:,.0f} by {unit}" for unit, gflops in one.peak_by_unit.items())
    by_cores = " by its cores" if beside else ""
    return f"peak {one.peak_gflops:,.0f} GFLOPS{by_cores}{beside}, {one.bandwidth_gb_per_sec:g} GB/s, {one.peak_source}"


def legacy_curve(points: Sequence[LegacyPoint]) -> str:
    """``106 at 2 s, 640 at 45 s, 873 at 20 min``: at most five steps of a log's way to its best."""
    every = max(1, -(-(len(points) - 1) // 4)) if points else 1
    shown = [*points[:-1:every], *points[-1:]]
    return ", ".join(f"{p.gflops:,.0f} at {duration(p.t_sec)}" for p in shown if p.gflops) or DASH


def legacy_use(log: LegacyOut) -> str:
    """What becomes of a log: who starts from it, or why it is only kept."""
    if not log.model:
        return f"{log.workload}: kept as a reference, {'; '.join(log.obstacles) or 'nothing in it was measured'}"
    return f"{log.workload}: jobs of {log.model} start from the best of its {log.replayable:,} schedules, measured anew"


def left_out(end: bytes) -> str:
    """What the end of an exported log says of records that it lacks; empty when it lacks none."""
    lines = end.strip().splitlines()
    try:
        told = LeftOut.model_validate_json(lines[-1] if lines else b"")
    except ValidationError:
        return ""
    return f"{told.left_out} records were left out, which no import would take ({told.reason})"


def size(count: float) -> str:
    """Bytes in the unit that fits: ``418 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def ago(moment: datetime, now: datetime) -> str:
    """How long since ``moment``, in its largest unit; the service's times are UTC, with or without a zone."""
    aware = [m if m.tzinfo else m.replace(tzinfo=timezone.utc) for m in (moment, now)]
    return f"{in_largest_unit(max(0.0, (aware[1] - aware[0]).total_seconds()))} ago"


def budget(job: JobOut) -> str:
    """``1,000 trials or 10 min 00 s``."""
    if job.compile_only:
        return "compile only, no tuning"
    trials = f"{job.budget.trials:,} trials"
    return trials if job.budget.seconds is None else f"{trials} or {duration(job.budget.seconds)}"


def best_latency(job: JobOut) -> str:
    """The measured latency, else the predicted one, marked: ``~43.2 ms``."""
    if job.latency_ms is None and job.predicted_ms is not None:
        return f"~{milliseconds(job.predicted_ms)}"
    return milliseconds(job.latency_ms)


def granted(job: JobOut) -> str:
    """When what was asked of a job happens: ``, pauses after the present round``; empty when it has."""
    match job.wish:
        case "cancel":
            return ", ends within seconds"
        case "pause":
            return ", pauses after the present round" if job.state == "tuning" else ", pauses before it tunes"
        case "resume":
            return ", goes on"
    return ""


def is_waiting(job: JobOut) -> bool:
    """Does the job wait for a device, a worker or its turn? Its message says for which."""
    return job.finished_at is None and job.message.startswith("waiting")


def shape(job: JobOut) -> str:
    """``1 x 128``: batch times sequence length, or ``texts of 4-256``; an operator has its extents in its name."""
    at = "" if job.precision == "fp32" else f" {job.precision}"
    if job.lengths:
        return f"texts of {job.lengths[0]}-{job.lengths[-1]}{at}"
    return DASH if job.kind == "operator" else f"{job.batch} x {job.seq_len}{at}"


def weights_note(weights: str) -> str:
    """What must stand beside every number of a model whose weights were not to be had."""
    return "seeded random weights" if weights == "random" else ""


def state_line(job: JobOut) -> str:
    """One plain line about where a job is, for logs and pipes."""
    parts: list[str] = [job.state]
    if job.state == "tuning":
        parts.append(f"{job.trials}/{job.budget.trials} trials")
        if job.trials_per_sec:
            parts.append(f"{job.trials_per_sec:.1f} trials/s")
        if job.predicted_ms is not None:
            parts.append(f"best {milliseconds(job.predicted_ms)}")
        if left := time_left(job):
            parts.append(left)
    if job.message and job.message != job.state:
        parts.append(job.message)
    return "  ".join(parts)


def verdict(job: JobOut, benchmarks: Sequence[BenchmarkOut] = ()) -> str:
    """The one sentence a finished job is about, with its comparison where PyTorch was timed."""
    if job.state != "succeeded":
        return job.error.message if job.error else job.state
    if job.latency_ms is None:
        return f"{job.model} is compiled for {job.target}; no device has timed it"
    line = f"{job.model} runs in {milliseconds(job.latency_ms)}"
    if is_undecided(benchmarks):
        line += f", about as fast as PyTorch's {milliseconds(job.baseline_ms)}: the difference may be chance"
    elif job.speedup is not None:
        line += f", {job.speedup:.2f}x PyTorch's {milliseconds(job.baseline_ms)}"
    if job.gflops is not None:
        line += f", {gflops(job.gflops)}"
    note = weights_note(job.weights)
    return f"{line} ({note})" if note else line
