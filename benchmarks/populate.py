"""A database as it is after years: many jobs, their kernels, rounds, events, benchmarks and artifacts, and records."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

from sqlalchemy import Engine, insert
from sqlmodel import SQLModel

from tuner.config import Settings
from tuner.db.engine import write
from tuner.db.models import Artifact, Benchmark, Device, Event, Job, JobWorkload, Model, Record, Round, Workload
from tuner.search.shipped import logs_folder

FAMILIES = ("llvm-x86_64-znver4-2c", "llvm-x86_64-znver5-2c", "llvm-x86_64-rocketlake-2c")
BIG_JOB = "job-b1b1b1b1b1"  # the one that tunes: a tenth of all records is its own
KERNELS = 12  # of a model
MODELS = 250
_BATCH = 16
_CHUNK_ROWS = 5_000
_TIR_BYTES = 20_000
_BEGAN = datetime(2025, 1, 1, tzinfo=timezone.utc)
_FIGURES = {"p10_ms": 49.0, "p90_ms": 53.0, "n": 60, "threads": 2, "machine": "AMD EPYC"}
_ORDER = (Device, Model, Workload, Job, JobWorkload, Round, Artifact, Benchmark, Event, Record)  # as rows refer

Row = dict[str, Any]
Rows = tuple[type[SQLModel], Row]


@dataclass(frozen=True)
class Size:
    """How much there is; of the jobs some still wait for their turn."""

    records: int = 1_000_000
    jobs: int = 10_000
    events: int = 1_000_000
    waiting: int = 1_000


def populate(engine: Engine, settings: Settings, size: Size, progress: Callable[[str, int], None]) -> None:
    """Fill an empty database, some thousand rows a transaction; ``progress`` hears of each table and its rows."""
    rng = random.Random(1)
    traces = _traces(settings)
    for rows in (_models(), _workloads(rng), _jobs(size), _events(rng, size), _records(rng, size, traces)):
        waiting: dict[type[SQLModel], list[Row]] = {}
        counted = 0
        while chunk := list(islice(rows, _CHUNK_ROWS)):
            for table, row in chunk:
                waiting.setdefault(table, []).append(row)
            with write(engine) as session:
                for table in sorted(waiting, key=_ORDER.index):
                    session.connection().execute(insert(table), waiting[table])
            counted += len(chunk)
            progress(", ".join(table.__name__ for table in waiting), counted)
            waiting.clear()


def job_id(number: int) -> str:
    """The id of a job by its age, the oldest first; the last one tunes."""
    return f"job-{number:010x}"


def workload_id(model: int, position: int) -> str:
    """The id of a model's kernel."""
    return f"wl-{model * KERNELS + position:016x}"


def _traces(settings: Settings) -> list[str]:
    """Real ones, of the records that come with the product."""
    found = []
    for path in sorted(logs_folder(settings).glob("*.jsonl.gz")):
        with gzip.open(path) as lines:
            found += [json.dumps(json.loads(line)["record"]["trace"], separators=(",", ":")) for line in lines]
    return found


def _models() -> Iterator[Rows]:
    device = Device(key="local", facts={"cpu": "AMD EPYC", "cores": 2, "threads": 2, "mcpu": "znver4"})
    yield Device, {**device.model_dump(), "last_seen": _BEGAN}
    for number in range(MODELS):
        model = Model(id=_model_id(number), name=f"organisation/model-{number}", source="hub", location="")
        yield Model, {**model.model_dump(), "created_at": _BEGAN}


def _workloads(rng: random.Random) -> Iterator[Rows]:
    tir = json.dumps({"nodes": "x" * _TIR_BYTES})
    for model in range(MODELS):
        for position in range(KERNELS):
            row = Workload(
                id=workload_id(model, position),
                name=f"fused_matmul{position % 4}",
                summary="float32[128,768] x float32[768,768] -> float32[128,768]",
                flops=1e6 * rng.randrange(1, 1000),
                weight_bytes=2**20 if position % 2 else 0,
                tir=tir,
            )
            yield Workload, {**row.model_dump(), "created_at": _BEGAN}


def _jobs(size: Size) -> Iterator[Rows]:
    """Jobs with what belongs to them but events and records."""
    plain = Job(model_id="", target="local", budget_trials=1000, target_family=FAMILIES[0], snapshot="").model_dump()
    for number in range(size.jobs):
        ended = number < size.jobs - size.waiting - 1
        tunes = number == size.jobs - 1
        stamp, model = _BEGAN + timedelta(hours=number), number % MODELS
        state = "tuning" if tunes else ("failed" if number % 10 == 9 else "succeeded") if ended else "submitted"
        job = {
            "id": _id(number, size),
            "model_id": _model_id(model),
            "state": state,
            "priority": 1 if tunes else 0,
            "message": "waiting for its turn" if state == "submitted" else "tuning" if tunes else "done",
            "trials": _records_of(number, size),
            "budget_trials": 2 * size.records,
            "tuning_sec": 600.0 if ended else 0.0,
            "artifact_id": artifact_id(number) if state == "succeeded" else None,
            "latency_ms": 51.3 if state == "succeeded" else None,
            "created_at": stamp,
            "started_at": stamp if ended or tunes else None,
            "finished_at": stamp + timedelta(minutes=10) if ended else None,
        }
        yield Job, {**plain, **job}
        if state != "submitted":
            yield from _parts_of(number, model, stamp, size)
        if state == "succeeded":
            yield from _results_of(number, model, stamp, size)


def _parts_of(number: int, model: int, stamp: datetime, size: Size) -> Iterator[Rows]:
    """A job's kernels and rounds."""
    for position in range(KERNELS):
        link = JobWorkload(
            job_id=_id(number, size),
            workload_id=workload_id(model, position),
            position=position,
            weight=12,
            trials=_records_of(number, size) // KERNELS,
            untuned_us=9000.0,
            best_us=900.0,
        )
        yield JobWorkload, link.model_dump()
    for count in range(_rounds_of(number, size)):
        row = Round(
            id=f"rnd-{number:06x}{count:06x}",
            job_id=_id(number, size),
            workload_id=workload_id(model, count % KERNELS),
            state="done",
            number=count + 1,
            measured=_BATCH,
            best_us=1000.0 - 100.0 * (count + 1) / _rounds_of(number, size),  # the search still finds better ones
            canary_ratio=1.0 + 0.01 * (count % 5),
            build_sec=2.0,
            measure_sec=3.0,
        )
        began = stamp + timedelta(seconds=6 * count)
        yield Round, {**row.model_dump(), "started_at": began, "finished_at": began + timedelta(seconds=6)}


def _results_of(number: int, model: int, stamp: datetime, size: Size) -> Iterator[Rows]:
    """A job's artifact and benchmarks."""
    manifest = {
        "model": {"name": f"organisation/model-{model}"},
        "target": {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "znver4", "num-cores": 2},
        "verification": {
            "max_abs_error": 1e-6,
            "max_rel_error": 1e-6,
            "tolerance": {"absolute": 1e-5, "relative": 1e-3},
        },
        "kernels": [{"workload": workload_id(model, position), "source": "record"} for position in range(KERNELS)],
    }
    artifact = Artifact(
        id=artifact_id(number),
        job_id=_id(number, size),
        path=f"{artifact_id(number)}.tar",
        size_bytes=440_000_000,
        sha256=f"{number:064x}",
        manifest=manifest,
    )
    yield Artifact, {**artifact.model_dump(), "created_at": stamp}
    for variant in ("tuned", "untuned", "torch-eager", "torch-sdpa"):
        row = Benchmark(
            job_id=_id(number, size), artifact_id=artifact_id(number), variant=variant, median_ms=50.0, **_FIGURES
        )
        yield Benchmark, {**row.model_dump(exclude={"id"}), "created_at": stamp}


def _events(rng: random.Random, size: Size) -> Iterator[Rows]:
    """What happened in each job: all of its rounds, its states, and messages."""
    each = size.events // size.jobs
    for number in range(size.jobs):
        stamp = _BEGAN + timedelta(hours=number)
        for count in range(max(each, _rounds_of(number, size))):
            kind, data = _event(rng, count, _rounds_of(number, size))
            yield Event, {"job_id": _id(number, size), "kind": kind, "data": data, "created_at": stamp}


def _event(rng: random.Random, count: int, rounds: int) -> tuple[str, Row]:
    if count < rounds:
        known = {"t_sec": 6.0 * count, "trials": _BATCH * count, "predicted_ms": 50.0 + 400.0 / (count + 1)}
        told = {"workload_id": workload_id(0, count % KERNELS), "measured": _BATCH, "failed": 0, "best_us": 900.0}
        return "round", {**known, **told, "progress": 0.5, "rounds": count + 1, "fewest_left": 100}
    if count < rounds + 8:
        return "state", {"state": "tuning", "message": "tuning", "progress": 0.5}
    return "message", {"message": f"measuring the best kernels once more ({rng.randrange(28)}/28)"}


def _records(rng: random.Random, size: Size, traces: list[str]) -> Iterator[Rows]:
    plain = Record(workload_id="", target_family="", candidate="", tvm_version="0.27.0.post1", checked=True)
    fields = plain.model_dump(exclude={"id"})
    candidate = 0
    for number in range(size.jobs):
        stamp, model = _BEGAN + timedelta(hours=number), number % MODELS
        for count in range(_records_of(number, size)):
            candidate += 1
            mean_sec = None if rng.random() < 0.1 else 1e-3 * (1 + rng.random())
            yield (
                Record,
                {
                    **fields,
                    "workload_id": workload_id(model, count // _BATCH % KERNELS),
                    "target_family": FAMILIES[0] if number % 4 else rng.choice(FAMILIES),
                    "target_json": {"kind": "llvm", "mcpu": "znver4", "num-cores": 2},
                    "device": "local",
                    "candidate": f"{candidate * 0x9E3779B97F4A7C15 % 2**64:016x}",
                    "trace": rng.choice(traces),
                    "run_secs": [mean_sec] * 3 if mean_sec else [],
                    "mean_sec": mean_sec,
                    "error_class": "" if mean_sec else "build",
                    "evaluator": {"number": 3, "repeat": 3, "cold_weights": True},
                    "canary_ratio": 1.0 + 0.01 * rng.random(),
                    "job_id": _id(number, size),
                    "round_id": f"rnd-{number:06x}{count // _BATCH:06x}",
                    "created_at": stamp + timedelta(seconds=count),
                },
            )


def _records_of(number: int, size: Size) -> int:
    """A job's records: the one that tunes has a tenth of all, those that wait none, the others share the rest."""
    if number == size.jobs - 1:
        return size.records // 10
    ended = size.jobs - size.waiting - 1
    return size.records * 9 // 10 // ended if number < ended else 0


def _rounds_of(number: int, size: Size) -> int:
    return -(-_records_of(number, size) // _BATCH)


def _id(number: int, size: Size) -> str:
    return BIG_JOB if number == size.jobs - 1 else job_id(number)


def _model_id(number: int) -> str:
    return f"mdl-{number:010x}"


def artifact_id(number: int) -> str:
    """The id of a job's artifact, by the job's age."""
    return f"art-{number:020x}"
