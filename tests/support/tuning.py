"""Rounds on a real device: a workload, a database, a Tuner, and candidates that do harm."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tvm
from sqlalchemy import Engine
from sqlmodel import col, select
from tvm import s_tir, te, tirx

from tests.support import databases
from tests.support.processes import patience
from tests.support.rows import add_job
from tests.support.tiny_imports import local_target
from tuner.config import Settings
from tuner.db import jobs, records
from tuner.db.engine import make_engine, read, write
from tuner.db.models import Job, JobWorkload, Record, Round, Workload
from tuner.kernels.workload import describe
from tuner.measuring.build_process import BuildJob, Built, Question, Tried
from tuner.measuring.builder import BuildPool
from tuner.measuring.measure import DeviceAddress
from tuner.search.round import Tuner
from tuner.targets import triples

HOST = "127.0.0.1"


def device(port: int, session_timeout_sec: float = 60.0) -> DeviceAddress:
    """The device of a test's tracker."""
    return DeviceAddress(HOST, port, "local", patience(20), session_timeout_sec)


def product(rows: int = 16, depth: int = 32, columns: int = 64) -> Any:
    """``relu(a @ b)`` with a constant ``b``, as the graph pipeline leaves it: the smallest thing worth tuning."""
    a, b = te.placeholder((rows, depth), name="a"), te.placeholder((depth, columns), name="b")
    k = te.reduce_axis((0, depth), "k")
    total = te.compute((rows, columns), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="product")
    out = te.compute((rows, columns), lambda i, j: tirx.max(total[i, j], tirx.const(0.0, "float32")), name="relu")
    func = te.create_prim_func([a, b, out]).with_attr("layout_free_buffers", [1])
    return tvm.IRModule({"main": func.with_attr({"global_symbol": "main", "tirx.noalias": True})})


def row_sums(rows: int = 32, length: int = 48) -> Any:
    """The square root of each row's sum of magnitudes: a workload that is no product."""
    a = te.placeholder((rows, length), name="a")
    k = te.reduce_axis((0, length), "k")
    total = te.compute((rows,), lambda i: te.sum(te.abs(a[i, k]), axis=k), name="total")
    out = te.compute((rows,), lambda i: te.sqrt(total[i]), name="length")
    return tvm.IRModule({"main": te.create_prim_func([a, out]).with_attr("global_symbol", "main")})


class Bench:
    """A database of its own, a device, and a Tuner that can be made anew as after a restart."""

    def __init__(self, root: Path, port: int) -> None:
        self.settings = Settings(data_dir=root, build_workers=1, build_timeout_sec=patience(30))
        databases.create(self.settings)
        self.engine: Engine = make_engine(self.settings)
        self.port = port
        self.device = device(port)
        self.tuner = Tuner(self.settings, self.engine, lambda _: self.device)

    def restart(self, session_timeout_sec: float = 60.0) -> None:
        """A new Tuner that knows nothing but the database; the warm build processes are kept."""
        self.device = device(self.port, session_timeout_sec)
        self.tuner = Tuner(self.settings, self.engine, lambda _: self.device, self.tuner.builders)

    def close(self) -> None:
        self.tuner.builders.close()
        self.engine.dispose()

    def job(
        self,
        mod: Any,
        cold: bool = False,
        lengths: list[int] | None = None,
        terms: Mapping[str, Any] = MappingProxyType({}),
        **of_target: Any,
    ) -> Job:
        """A job that tunes this one workload; with ``lengths`` for texts, by ``terms`` of its own, ``of_target`` for
        this machine with more."""
        found = describe(mod, "product", 1)
        target = {**local_target(), **of_target}
        with write(self.engine) as db:
            family = triples.family(target)
            job = add_job(db, "tuning", target_json=target, target_family=family, cold=cold, lengths=lengths, **terms)
            fields = ("id", "name", "summary", "flops", "weight_bytes", "tir")
            records.put_workload(db, Workload(**{name: getattr(found, name) for name in fields}))
            db.add(JobWorkload(job_id=job.id, workload_id=found.id))
        return job

    def workload(self, job: Job) -> Workload:
        with read(self.engine) as db:
            ((_, workload),) = jobs.workloads(db, job.id, with_tir=True)
        return workload

    def link(self, job: Job) -> JobWorkload:
        with read(self.engine) as db:
            ((link, _),) = jobs.workloads(db, job.id)
        return link

    def round(self, job: Job, batch: int = 4) -> Round:
        """Run one round of the job's workload; returns its finished row."""
        with write(self.engine) as db:
            row = Round(job_id=job.id, workload_id=self.workload(job).id, batch=batch)
            db.add(row)
        self.tuner.run(job.id, row.id)
        with read(self.engine) as db:
            finished = db.get(Round, row.id)
        assert finished is not None
        return finished

    def records(self, round_: Round | None = None) -> list[Record]:
        """Records of a round, or all; in the order in which they were written."""
        query = select(Record).order_by(col(Record.id))
        with read(self.engine) as db:
            return list(db.exec(query if round_ is None else query.where(Record.round_id == round_.id)))


@dataclass
class SabotagedBuilds:
    """Builds like ``pool``, but changes what ``select`` picks on the way."""

    pool: BuildPool
    select: Callable[[BuildJob], bool]
    change: Callable[[BuildJob], BuildJob]

    def build(self, wanted: Sequence[BuildJob]) -> list[Built]:
        return self.pool.build([self.change(job) if self.select(job) else job for job in wanted])

    def ask(self, questions: Iterable[Question], timeout_sec: float) -> list[Tried]:
        return self.pool.ask(questions, timeout_sec)

    def close(self) -> None:
        self.pool.close()


def with_statement(job: BuildJob, statement: Callable[[Any], Any], first: bool) -> BuildJob:
    """The same library with one more statement, made from its function, before or after what it computes."""
    mod = tvm.ir.load_json(job.tir)
    func = mod["main"]
    root = func.body.block
    more = statement(func)
    block = s_tir.SBlock(
        root.iter_vars,
        root.reads,
        root.writes,
        root.name_hint,
        tirx.SeqStmt([more, root.body] if first else [root.body, more]),
        root.init,
        root.alloc_buffers,
        root.match_buffers,
        root.annotations,
    )
    mod["main"] = func.with_body(s_tir.SBlockRealize([], True, block))
    return replace(job, tir=str(tvm.ir.save_json(mod)))


def segfault(job: BuildJob) -> BuildJob:
    """A library that ends the process that runs it."""
    return with_statement(job, lambda func: _call("raise", signal.SIGSEGV), first=True)


def hang(job: BuildJob) -> BuildJob:
    """A library that never returns."""
    return with_statement(job, lambda func: _call("sleep", 1000), first=True)


def slow(job: BuildJob, seconds: float) -> BuildJob:
    """A library that takes longer, and returns."""
    return with_statement(job, lambda func: _call("usleep", round(seconds * 1e6)), first=True)


def wrong(job: BuildJob) -> BuildJob:
    """A library that computes something else: the first value of its output is always 1000."""

    def spoil(func: Any) -> Any:
        output = func.params[-1]
        return tirx.BufferStore(output, tirx.const(1000.0, "float32"), [0] * len(output.shape))

    return with_statement(job, spoil, first=False)


def _call(function: str, argument: int) -> Any:
    return tirx.Evaluate(tirx.call_extern("int32", function, argument))
