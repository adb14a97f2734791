"""Tables of the command line. Pure: models in, rich tables out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Literal

from rich.markup import escape
from rich.table import Table

from tuner.bench.against import NAMES
from tuner.bench.spec import Timing
from tuner.cli import words
from tuner.importers.operators.files import label
from tuner.jobs import terms
from tuner.schemas import (
    ArtifactOut,
    BenchmarkOut,
    DeviceOut,
    JobOut,
    JobWorkloadOut,
    LegacyOut,
    ModelOut,
    RecordOut,
    TokenOut,
    UploadOut,
)
from tuner.targets.triples import family

WIDE = 120  # columns of a terminal that has room for every column of a table

_STATE_COLOUR = {"succeeded": "green", "failed": "red", "cancelled": "dim", "paused": "yellow"}
_VARIANTS = {
    "torch-eager": "PyTorch eager",
    "torch-sdpa": "PyTorch SDPA",
    "untuned": "TVM untuned",
    "tuned": "TVM tuned",
    "product": "PyTorch, product alone",
    "tuned-fp32": "TVM tuned, fp32",
    "tuned-bf16": "TVM tuned, bf16",
    "tuned-fp16": "TVM tuned, fp16",
    "tuned-int8": "TVM tuned, int8",
    **NAMES,
}


def jobs_table(jobs: Iterable[JobOut], width: int) -> Table:
    """One line per job; below ``WIDE`` columns without when it was created, as the order tells that already."""
    columns = ["=job", "model", "batch x seq", "target", "state", ">trials", ">latency", ">speedup"]
    table = plain_table(*columns, *(["created"] if width >= WIDE else []), gap=2 if width >= WIDE else 1)
    now = datetime.now(timezone.utc)
    for job in jobs:
        table.add_row(
            job.id,
            escape(" ".join(filter(None, [label(job.model), "(random weights)" if job.weights == "random" else ""]))),
            words.shape(job),
            escape(job.target),
            _state(job) + (" [yellow](waiting)[/]" if words.is_waiting(job) else ""),
            words.DASH if job.compile_only else f"{job.trials:,}/{job.budget.trials:,}",
            words.best_latency(job),
            f"{job.speedup:.2f}x" if job.speedup is not None else words.DASH,
            *([words.ago(job.created_at, now)] if width >= WIDE else []),
        )
    return table


def job_table(job: JobOut) -> Table:
    """All there is to know about one job, as pairs."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    rows = {
        "job": job.id,
        "model": " ".join(filter(None, [escape(label(job.model)), words.weights_note(job.weights)])),
        **({"revision": job.revision} if job.revision else {}),
        "target": escape(job.target),
        "batch x seq": words.shape(job),
        "state": _state(job) + (f"  {escape(job.message)}" if job.message not in ("", job.state) else ""),
        "budget": words.budget(job) + ("  (cold)" if job.cold else ""),
        **({"terms": escape(terms.in_words(job))} if terms.in_words(job) else {}),
        **({} if job.compile_only else _figures(job)),
        "artifact": job.artifact_id or words.DASH,
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _figures(job: JobOut) -> dict[str, str]:
    return {
        "trials": f"{job.trials:,} in {words.duration(job.tuning_sec)}",
        "predicted": words.milliseconds(job.predicted_ms),
        "measured": words.milliseconds(job.latency_ms),
        **({"speed": words.gflops(job.gflops)} if job.kind == "operator" else {}),
        "PyTorch": words.milliseconds(job.baseline_ms),
        "speedup": f"[bold green]{job.speedup:.2f}x[/]" if job.speedup is not None else words.DASH,
    }


def artifacts_table(artifacts: Iterable[ArtifactOut]) -> Table:
    """One line per artifact, with how much of it was tuned and how far it was tested."""
    table = plain_table("=artifact", "model", "target", ">coverage", "tested", ">size", "created")
    now = datetime.now(timezone.utc)
    for one in artifacts:
        manifest = one.manifest
        table.add_row(
            one.id,
            escape(label(str((manifest.get("model") or {}).get("name", words.DASH)))),
            escape(family(manifest["target"])) if "target" in manifest else words.DASH,
            f"{manifest['coverage']:.0%}" if manifest.get("coverage") is not None else words.DASH,
            escape(one.tested) or words.DASH,
            words.size(one.size_bytes) if one.evicted_at is None else "removed",
            words.ago(one.created_at, now),
        )
    return table


def workloads_table(workloads: Iterable[JobWorkloadOut], width: int) -> Table:
    """Workloads in the order of the model, with their share of the time; below ``WIDE`` columns without shapes."""
    names = ["workload", *(["shapes"] if width >= WIDE else [])]
    table = plain_table(*names, ">launches", ">trials", ">untuned", ">best", ">GFLOPS", ">of peak", ">share")
    for work in workloads:
        table.add_row(
            escape(work.name),
            *([escape(work.summary)] if width >= WIDE else []),
            str(work.weight),
            "left out" if work.left_out else f"{work.trials:,}" if work.tunable else words.DASH,
            words.microseconds(work.untuned_us),
            words.microseconds(work.best_us),
            f"{work.gflops:,.0f}" if work.gflops else words.DASH,
            f"{work.peak_share:.0%}" if work.peak_share else words.DASH,
            f"{work.share:.1%}" if work.share is not None else words.DASH,
        )
    return table


def kernels_table(workloads: Iterable[JobWorkloadOut], width: int) -> Table:
    """Kernels with where each runs and how it was chosen, those that take most of the time first. Below ``WIDE``
    columns without shapes and parts of the peak, with what each was chosen by in one word, and where only if they
    differ."""
    is_wide, rows = width >= WIDE, sorted(workloads, key=lambda one: -(one.share or 0.0))
    places = [", ".join(filter(None, [work.runs_on, work.unit])) or words.DASH for work in rows]
    is_told = is_wide or len(set(places)) > 1
    names = ["kernel", *(["shapes"] if is_wide else [])]
    numbers = (">launches", ">share", ">untuned", ">best", ">GFLOPS", *([">of peak"] if is_wide else []))
    table = plain_table(*names, *numbers, *(["on"] if is_told else []), "chosen", ">trials")
    for work, place in zip(rows, places, strict=True):
        chosen = work.chosen or words.DASH
        table.add_row(
            escape(work.name),
            *([escape(work.summary)] if is_wide else []),
            str(work.weight),
            f"{work.share:.1%}" if work.share is not None else words.DASH,
            words.microseconds(work.untuned_us),
            words.microseconds(work.best_us),
            f"{work.gflops:,.0f}" if work.gflops else words.DASH,
            *([f"{work.peak_share:.0%}" if work.peak_share else words.DASH] if is_wide else []),
            *([place] if is_told else []),
            escape(chosen if is_wide else chosen.partition(":")[0]),
            "left out" if work.left_out else f"{work.trials:,}" if work.tunable else words.DASH,
        )
    return table


def benchmarks_table(
    benchmarks: Iterable[BenchmarkOut | Timing], absent: Mapping[str, str] = MappingProxyType({}), of: str = "variant"
) -> Table:
    """The comparison, slowest first, with each variant's speed against the slowest; last those that are ``absent``, and
    why. ``of`` heads the column that says who they are."""
    ordered = sorted(benchmarks, key=lambda b: -b.median_ms)
    table = plain_table(of, ">median", ">p10", ">p90", ">mean (std dev)", ">n", ">speed")
    for bench in ordered:
        table.add_row(
            escape(_VARIANTS.get(bench.variant, bench.variant)),
            *(words.milliseconds(value) for value in (bench.median_ms, bench.p10_ms, bench.p90_ms)),
            words.mean(bench.mean_ms, bench.std_ms),
            str(bench.n),
            f"{ordered[0].median_ms / bench.median_ms:.2f}x",
            style="bold green" if bench.variant == "tuned" else "",
        )
    for name in absent:
        table.add_row(escape(_VARIANTS.get(name, name)), "not timed", style="dim")
    return table


def costs_table(benchmarks: Iterable[BenchmarkOut]) -> Table:
    """What contestants in processes of their own cost besides: until they could be called, the first call, one after a
    rest, memory; what they compute in, and how far from PyTorch's their outputs were. The quickest first."""
    table = plain_table("variant", ">load", ">first call", ">after a rest", ">memory", "in", ">off by")
    for bench in sorted(benchmarks, key=lambda b: b.median_ms):
        table.add_row(
            escape(_VARIANTS.get(bench.variant, bench.variant)),
            *(words.milliseconds(value) for value in (bench.load_ms, bench.first_ms, bench.after_idle_ms)),
            words.size(bench.memory_bytes) if bench.memory_bytes else words.DASH,
            bench.precision or words.DASH,
            words.DASH if bench.max_abs_error is None else f"{bench.max_abs_error:.1e}",
            style="bold green" if bench.variant == "tuned" else "",
        )
    return table


def records_table(records: Iterable[RecordOut]) -> Table:
    """One line per attempt at a candidate."""
    table = plain_table("candidate", "workload", "family", ">best", "try", "what became of it", "measured on")
    for record in records:
        state = f"{record.error_class}: {record.error}" if record.error_class else "" if record.mean_us else "seed"
        table.add_row(
            record.candidate,
            record.workload_id,
            record.target_family,
            words.microseconds(record.mean_us),
            f"{record.attempt}{' (old)' if record.superseded else ''}",
            escape(state),
            escape(record.measured_on or record.source),
        )
    return table


def legacy_table(logs: Iterable[LegacyOut]) -> Table:
    """What logs of another tuner hold, and how their best came to be, in quarters of the way."""
    table = plain_table("workload", "target", ">records", ">failed", ">best", ">GFLOPS", "GFLOPS over time")
    for log in logs:
        table.add_row(
            escape(log.workload),
            escape(log.target),
            f"{log.records:,}",
            f"{log.failed:,}",
            words.microseconds(log.best_us),
            f"{log.gflops:,.0f}" if log.gflops else words.DASH,
            words.legacy_curve(log.curve),
        )
    return table


def models_table(models: Iterable[ModelOut]) -> Table:
    """One line per model."""
    table = plain_table("model", "=id", "source", "family", "head", ">max seq", "weights")
    for model in models:
        longest = str(model.max_seq_len) if model.max_seq_len else words.DASH
        table.add_row(escape(model.name), model.id, model.source, model.family, model.head, longest, model.weights)
    return table


def devices_table(devices: Iterable[DeviceOut]) -> Table:
    """One line per device."""
    table = plain_table("device", "state", "processor", ">cores", "last seen")
    now = datetime.now(timezone.utc)
    for device in devices:
        facts = device.facts
        cpu, cores = str(facts.get("cpu", words.DASH)), str(facts.get("cores", words.DASH))
        table.add_row(escape(device.key), device.state, escape(cpu), cores, words.ago(device.last_seen, now))
    return table


def tokens_table(tokens: Iterable[TokenOut]) -> Table:
    """One line per token."""
    table = plain_table("=token", "allows", "made")
    now = datetime.now(timezone.utc)
    for token in tokens:
        table.add_row(escape(token.name), token.scope, words.ago(token.created_at, now))
    return table


def uploads_table(uploads: Iterable[UploadOut]) -> Table:
    """One line per upload."""
    table = plain_table("=upload", "model", "from", "state", ">size", "used")
    now = datetime.now(timezone.utc)
    for one in uploads:
        share = one.received_bytes / one.size_bytes if one.size_bytes else 1.0
        state = one.state if one.state == "complete" else f"{share:.0%} here"
        owner = escape(one.owner or words.DASH)
        table.add_row(one.id, escape(one.model), owner, state, words.size(one.size_bytes), words.ago(one.used_at, now))
    return table


def upload_files_table(upload: UploadOut) -> Table:
    """One line per file of an upload."""
    table = plain_table("file", ">size", ">here", "sha256")
    for file in upload.files:
        here = words.size(file.received_bytes)
        table.add_row(escape(file.path), words.size(file.size_bytes), here, file.sha256[:12])
    return table


def plain_table(*columns: str, gap: int = 2) -> Table:
    """A plain table; a column named ``>x`` is a number, ``=x`` an id: neither is ever broken, as words may be."""
    table = Table(box=None, header_style="dim", padding=(0, gap, 0, 0))
    for name in columns:
        justify: Literal["left", "right"] = "right" if name.startswith(">") else "left"
        table.add_column(name.lstrip("=>"), justify=justify, overflow="fold", no_wrap=name[0] in "=>")
    return table


def _state(job: JobOut) -> str:
    colour = _STATE_COLOUR.get(job.state, "cyan")
    return f"[{colour}]{job.state}[/]" + (f" [dim](to {job.wish})[/]" if job.wish else "")
