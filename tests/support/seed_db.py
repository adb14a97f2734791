"""A believable finished job and a running one, put in a database for tests and pictures of the pages."""

from __future__ import annotations

import hashlib
import math
import random
from datetime import timedelta

from sqlmodel import Session

from tests.support.rows import utcnow
from tuner.db.models import (
    Artifact,
    Benchmark,
    Device,
    Event,
    Job,
    JobWorkload,
    Model,
    Record,
    Round,
    Workload,
)

MACHINE = "AMD EPYC 9B45, 2 cores"
TARGET = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "znver5", "num-cores": 2}
FAMILY = "llvm-x86_64-znver5-2c"

# name, shapes, launches, GFLOP, untuned us, best us
BERT_KERNELS = (
    ("fused_matmul_qkv", "float32[128,768] x float32[768,2304] -> float32[128,2304]", 12, 0.453, 9800.0, 925.0),
    ("fused_matmul_residual", "float32[128,768] x float32[768,768] -> float32[128,768]", 12, 0.151, 3350.0, 300.0),
    ("fused_matmul_gelu", "float32[128,768] x float32[768,3072] -> float32[128,3072]", 12, 0.604, 13900.0, 1382.0),
    (
        "fused_matmul_residual1",
        "float32[128,3072] x float32[3072,768] -> float32[128,768]",
        12,
        0.604,
        13100.0,
        1203.0,
    ),
    ("fused_softmax", "float32[12,128,128] -> float32[12,128,128]", 12, 0.0008, 610.0, 103.0),
    ("fused_scores", "float32[12,128,64] x float32[12,64,128] -> float32[12,128,128]", 12, 0.025, 820.0, 108.0),
    ("fused_context", "float32[12,128,128] x float32[12,128,64] -> float32[12,128,64]", 12, 0.025, 790.0, 98.0),
    ("fused_layer_norm", "float32[1,128,768] -> float32[1,128,768]", 25, 0.0008, 88.0, 17.0),
    ("fused_embedding_add", "int64[1,128], float32[30522,768] -> float32[1,128,768]", 1, 0.0002, 75.0, 31.0),
)
# What feeds what, by their places in that list.
BERT_FLOW = ((8, 7), (7, 0), (0, 5), (5, 4), (4, 6), (0, 6), (6, 1), (7, 1), (1, 7), (7, 2), (2, 3), (7, 3), (3, 7))


def finished_job(session: Session, job_id: str = "job-a1b2c3d4e5") -> Job:
    """BERT-base that succeeded: curve, workloads, records, benchmarks, artifact and log."""
    model = _model(session, "bert-base-uncased", "pretrained")
    begin = utcnow() - timedelta(minutes=42)
    job = Job(
        id=job_id,
        model_id=model.id,
        target="local",
        target_json=TARGET,
        target_family=FAMILY,
        budget_trials=1000,
        budget_sec=600.0,
        state="succeeded",
        message="done",
        progress=1.0,
        trials=944,
        tuning_sec=563.0,
        predicted_ms=48.9,
        latency_ms=51.3,
        weights="pretrained",
        created_at=begin,
        started_at=begin + timedelta(seconds=1),
        finished_at=begin + timedelta(minutes=11),
    )
    session.add(job)
    session.flush()
    _workloads(session, job, done=1.0)
    _curve(session, job, rounds=59, until_ms=48.9)
    _records(session, job, 40)
    failures(session, job)
    for variant, median, p10, p90, load_ms in (
        ("tuned", 51.3, 50.6, 52.9, 340.0),
        ("torch-sdpa", 134.2, 131.0, 139.8, 4360.0),
        ("torch-eager", 147.4, 143.9, 152.2, 4290.0),
        ("onnxruntime-int8", 41.2, 40.9, 43.0, 812.0),
        ("untuned", 512.8, 508.1, 520.4, 350.0),
    ):
        session.add(
            Benchmark(
                job_id=job.id,
                variant=variant,
                median_ms=median,
                p10_ms=p10,
                p90_ms=p90,
                mean_ms=median * 1.01,
                std_ms=median * 0.02,
                load_ms=load_ms,
                first_ms=median * 3,
                after_idle_ms=median * 1.2,
                memory_bytes=900 * 2**20,
                precision="int8" if variant.endswith("int8") else "fp32",
                max_abs_error=3e-6,
                n=60,
                threads=2,
                machine=MACHINE,
            )
        )
    artifact = _artifact(job)
    session.add(artifact)
    job.artifact_id = artifact.id
    job.against = ["torch", "onnxruntime-int8", "keras"]
    job.absent = {"keras": "keras is not installed. Give it an environment of its own: `python -m venv DIR`."}
    for state in ("importing", "extracting", "tuning", "compiling", "verifying", "benchmarking", "succeeded"):
        session.add(Event(job_id=job.id, kind="state", data={"state": state}))
    session.flush()
    return job


def running_job(session: Session, job_id: str = "job-f00dcafe42") -> Job:
    """MiniLM with random weights in the middle of tuning."""
    model = _model(session, "minilm-l6", "random")
    begin = utcnow() - timedelta(minutes=3)
    job = Job(
        id=job_id,
        model_id=model.id,
        target="local",
        target_json=TARGET,
        target_family=FAMILY,
        seq_len=64,
        budget_trials=512,
        budget_sec=600.0,
        state="tuning",
        message="tuning fused_matmul_gelu, round 14",
        progress=0.46,
        trials=230,
        tuning_sec=134.0,
        predicted_ms=9.41,
        weights="random",
        created_at=begin,
        started_at=begin,
    )
    session.add(job)
    session.flush()
    _workloads(session, job, done=0.6)
    _curve(session, job, rounds=14, until_ms=9.41)
    session.add(Event(job_id=job.id, kind="state", data={"state": "tuning"}))
    session.flush()
    return job


def failures(session: Session, job: Job) -> None:
    """Candidates of a job that failed, in four ways."""
    told = "tvm.error.InternalError: Check failed: (extent % factor == 0) is false: cannot split"
    kinds = (("build", told, 17), ("wrong", "off by 0.31 at (3, 17)", 2), ("timeout", "took more than 35 s", 1))
    for kind, error, many in kinds:
        for n in range(many):
            workload_id = "wl-" + hashlib.sha256(f"{job.model_id}{BERT_KERNELS[n % 3][0]}".encode()).hexdigest()[:16]
            session.add(
                Record(
                    workload_id=workload_id,
                    target_family=FAMILY,
                    candidate=hashlib.sha256(f"{kind}{n}".encode()).hexdigest()[:16],
                    error_class=kind,
                    error=error,
                    job_id=job.id,
                )
            )


def failed_job(session: Session, job_id: str = "job-0bad0bad00") -> Job:
    """DistilBERT that failed verification."""
    model = _model(session, "distilbert-base-uncased", "pretrained")
    job = Job(
        id=job_id,
        model_id=model.id,
        target="local",
        budget_trials=200,
        state="failed",
        progress=0.95,
        trials=200,
        tuning_sec=96.0,
        weights="pretrained",
        created_at=utcnow() - timedelta(hours=5),
        error={
            "code": "verification_failed",
            "message": "The outputs differ from PyTorch's by 0.31, more than the allowed 0.001.",
            "hint": "Tune again without the records that are known: `tunesmith tune distilbert-base-uncased --cold`.",
        },
    )
    session.add(job)
    session.flush()
    for state in ("importing", "extracting", "tuning", "compiling", "verifying", "failed"):
        session.add(Event(job_id=job.id, kind="state", data={"state": state}))
    session.flush()
    return job


def devices(session: Session) -> None:
    """This machine, online, and a quarantined one."""
    facts = {
        "cpu": MACHINE,
        "cores": 2,
        "threads": 2,
        "mtriple": "x86_64-linux-gnu",
        "mcpu": "znver5",
        "memory_bytes": 16_500_000_000,
        "cache_bytes": {"L2": 1048576, "L3": 33554432},
        "tvm_version": "0.27.0.post1",
        "peak": {"gflops": 530.0, "gb_per_sec": 42.0},
    }
    session.add(Device(key="local", facts=facts))
    session.add(Device(key="lab-7", state="quarantined", crashes=3, last_seen=utcnow() - timedelta(hours=2)))


def everything(session: Session) -> None:
    """All of the above."""
    finished_job(session)
    running_job(session)
    failed_job(session)
    devices(session)


def _model(session: Session, name: str, weights: str) -> Model:
    model = Model(name=name, source="preset", location=name, family="bert", max_seq_len=512, weights=weights)
    session.add(model)
    session.flush()
    return model


def _workloads(session: Session, job: Job, done: float) -> None:
    for position, (name, summary, launches, gflop, untuned_us, best_us) in enumerate(BERT_KERNELS):
        workload_id = "wl-" + hashlib.sha256(f"{job.model_id}{name}".encode()).hexdigest()[:16]
        session.add(Workload(id=workload_id, name=name, summary=summary, flops=gflop * 1e9, tir="{}"))
        session.flush()
        tuned = position < len(BERT_KERNELS) * done
        tunable = "embedding" not in name
        session.add(
            JobWorkload(
                job_id=job.id,
                workload_id=workload_id,
                position=position,
                weight=launches,
                tunable=tunable,
                trials=int(job.trials / len(BERT_KERNELS)) if tuned and tunable else 0,
                untuned_us=untuned_us,
                best_us=best_us if tuned else untuned_us,
            )
        )


def _curve(session: Session, job: Job, rounds: int, until_ms: float) -> None:
    rng = random.Random(7)
    worst = until_ms * 9.5
    for i in range(rounds):
        part = (i + 1) / rounds
        ms = until_ms + (worst - until_ms) * math.exp(-6.5 * part) * (1 + 0.1 * rng.random())
        data = {
            "t_sec": round(job.tuning_sec * part, 1),
            "trials": int(job.trials * part),
            "predicted_ms": round(until_ms if i == rounds - 1 else ms, 2),
            "rounds": i + 1,
            "fewest_left": int(job.trials * (1 - part)),
        }
        at = job.created_at + timedelta(seconds=job.tuning_sec * part)
        session.add(Event(job_id=job.id, kind="round", data=data, created_at=at))


def _records(session: Session, job: Job, number: int) -> None:
    workload_id = "wl-" + hashlib.sha256(f"{job.model_id}{BERT_KERNELS[0][0]}".encode()).hexdigest()[:16]
    for i in range(number):
        session.add(
            Record(
                workload_id=workload_id,
                target_family=FAMILY,
                candidate=f"{i:016x}",
                run_secs=[0.001],
                mean_sec=0.001,
                canary_ratio=1 + (i % 5) / 200,
                job_id=job.id,
            )
        )
        session.add(Round(job_id=job.id, workload_id=workload_id, number=i + 1, canary_ratio=1 + (i % 5) / 200))


def _kernel(job: Job, place: int) -> str:
    return "wl-" + hashlib.sha256(f"{job.model_id}{BERT_KERNELS[place][0]}".encode()).hexdigest()[:16]


def _artifact(job: Job) -> Artifact:
    digest = hashlib.sha256(job.id.encode()).hexdigest()
    manifest = {
        "model": {"name": "bert-base-uncased"},
        "target": TARGET,
        "flow": [["input_ids", _kernel(job, 8), 1], ["attention_mask", _kernel(job, 5), 12]]
        + [[_kernel(job, source), _kernel(job, target), 12] for source, target in BERT_FLOW]
        + [[_kernel(job, 7), "output", 1]],
        "versions": {"tvm": "0.27.0.post1", "tvm-ffi": "0.1.14.post1", "torch": "2.13.0"},
        "inputs": [
            {"name": "input_ids", "shape": [1, 128], "dtype": "int64"},
            {"name": "attention_mask", "shape": [1, 128], "dtype": "int64"},
        ],
        "outputs": [{"name": "last_hidden_state", "shape": [1, 128, 768], "dtype": "float32"}],
        "latency": {"median_ms": 51.3, "p10_ms": 50.6, "p90_ms": 52.9, "n": 60},
        "coverage": 0.994,
        "verification": {
            "max_abs_error": 3.1e-6,
            "max_rel_error": 4.4e-6,
            "tolerance": {"absolute": 1e-5, "relative": 1e-3},
            "inputs": "3 samples of tokenised text, padded and full",
        },
        "weights": "pretrained",
        "records": 8,
        "load_check": "device",
        "tested": "loaded and run",
    }
    return Artifact(
        id=f"art-{digest[:20]}",
        job_id=job.id,
        path=f"art-{digest[:20]}.tar",
        size_bytes=438_112_256,
        sha256=digest,
        manifest=manifest,
    )
