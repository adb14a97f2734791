"""The record log: newline-separated JSON, one record a line, in both directions.

A line is ``{"v": 1, "workload": {id, name, summary, flops, weight_bytes, tir?}, "record": {trace, run_secs, target,
target_family, device, candidate, mean_sec, error_class, error, tvm_version, evaluator, canary_ratio, created_at}}``;
``trace`` is what ``TuningRecord.as_json()`` gives, and only a workload's first line carries its ``tir``.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, ValidationError, model_validator
from sqlalchemy import Engine
from sqlmodel import Session

from tuner.db import records
from tuner.db.engine import write
from tuner.db.models import Record, Workload
from tuner.errors import UploadInvalid
from tuner.schemas import ImportOut

MAX_LINE_BYTES = 32 * 1024 * 1024
_SHOWN_ERRORS = 20
_CHUNK_LINES = 200  # lines stored in one transaction: short, so that tuning is not held up


class _WorkloadLine(BaseModel):
    id: str = Field(min_length=1, max_length=200)
    name: str
    summary: str
    flops: float = Field(ge=0, allow_inf_nan=False)
    weight_bytes: int = Field(0, ge=0)
    tir: str = ""


class _RecordLine(BaseModel):
    trace: Any
    run_secs: list[float]
    target: dict[str, Any]
    target_family: str = Field(min_length=1)
    device: str = ""
    candidate: str = Field(min_length=1)
    mean_sec: float | None = Field(None, gt=0, allow_inf_nan=False)
    error_class: str = ""
    error: str = ""
    tvm_version: str = ""
    evaluator: dict[str, Any] = Field(default_factory=dict)
    canary_ratio: float | None = None
    created_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _measured_or_failed(self) -> _RecordLine:
        if (self.mean_sec is None) != bool(self.error_class):
            raise ValueError("a record has either a mean_sec or an error_class")
        return self


class _Line(BaseModel):
    v: Literal[1]
    workload: _WorkloadLine
    record: _RecordLine


def line_of(record: Record, workload: Workload, with_tir: bool = True) -> str:
    """One record as a line of the log, ending in a newline."""
    line = _Line(
        v=1,
        workload=_WorkloadLine.model_validate(workload, from_attributes=True),
        record=_RecordLine(
            trace=json.loads(record.trace) if record.trace else None,
            target=record.target_json,
            **record.model_dump(include=set(_RecordLine.model_fields) - {"trace", "target"}),
        ),
    )
    return line.model_dump_json(exclude=None if with_tir else {"workload": {"tir"}}) + "\n"


def export_lines(
    session: Session,
    workload_id: str | None = None,
    family: str | None = None,
    job_id: str | None = None,
    failed: bool = False,
) -> Iterator[str]:
    """The log's lines, a workload's records together and fastest first; only its first line carries the TIR."""
    previous = ""
    for record, workload in records.by_workload(session, workload_id, family, job_id, failed):
        yield line_of(record, workload, with_tir=workload.id != previous)
        previous = workload.id


def import_lines(engine: Engine, lines: Iterable[bytes], source: str = "imported") -> ImportOut:
    """Store the lines' records, some hundred lines a transaction; ``source`` is what the records will say.

    A damaged line is skipped and counted with its reason, a record that is known already counted; the rest is kept.
    """
    out = ImportOut(imported=0, duplicates=0, skipped=0, errors=[])
    numbered = enumerate(lines, 1)
    while chunk := list(islice(numbered, _CHUNK_LINES)):
        with write(engine) as session:
            for number, raw in chunk:
                if raw.strip():
                    _import_line(session, number, raw, source, out)
    return out


def import_file(engine: Engine, file: IO[bytes]) -> ImportOut:
    """Import a log, plain or gzipped. Raises UploadInvalid when not one line of it is a record."""
    out = import_lines(engine, read_lines(file))
    if out.imported + out.duplicates == 0:
        reason = f"no line of it is a record ({out.errors[0]})" if out.errors else "it is empty"
        raise UploadInvalid(
            f"The uploaded log can't be used: {reason}.",
            "Send what `tunesmith records export` writes: one JSON record a line, gzipped or not.",
        )
    return out


def count_damaged(out: ImportOut, number: int, problem: Exception) -> None:
    """Count a line that is left out; the reasons of the first few are kept."""
    out.skipped += 1
    if len(out.errors) < _SHOWN_ERRORS:
        out.errors.append(f"line {number}: {problem}")


def _import_line(session: Session, number: int, raw: bytes, source: str, out: ImportOut) -> None:
    try:
        line = _parse(raw)
    except ValueError as exc:
        count_damaged(out, number, exc)
        return
    records.put_workload(session, Workload(**line.workload.model_dump()))
    if records.add(session, _to_record(line, source)):
        out.imported += 1
    else:
        out.duplicates += 1


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The file's lines; one over the limit comes cut, a gzip that ends too early ends with an unparsable line."""
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(b"PK"):
        raise UploadInvalid(
            "The upload is a zip archive; records are imported as lines of JSON.",
            "Send what `tunesmith records export` writes without --format metaschedule.",
        )
    stream: IO[bytes] | gzip.GzipFile = (
        gzip.GzipFile(fileobj=file, mode="rb") if magic.startswith(b"\x1f\x8b") else file
    )
    try:
        while line := stream.readline(MAX_LINE_BYTES):
            yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        yield f"(damaged gzip: {exc})".encode()


def _parse(raw: bytes) -> _Line:
    try:
        return _Line.model_validate_json(raw)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else f"not a JSON record, begins {raw[:60]!r}") from exc


def _to_record(line: _Line, source: str) -> Record:
    fields = line.record.model_dump(exclude={"trace", "target"})
    return Record(
        workload_id=line.workload.id,
        trace="" if line.record.trace is None else json.dumps(line.record.trace, separators=(",", ":")),
        target_json=line.record.target,
        source=source,
        **fields,
    )
