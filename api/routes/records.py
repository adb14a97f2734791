"""Records: query, export, import."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import Engine

from api.deps import EngineDep, LongWindowDep, page_of
from api.uploads import REQUEST_BODY, uploaded_file
from tuner.db import log, metaschedule, records
from tuner.db.engine import read, write
from tuner.errors import InvalidInput
from tuner.jobs.view import record_out
from tuner.legacy import store
from tuner.schemas import ImportOut, Page, RecordOut, RecordsChanged

router = APIRouter(prefix="/records", tags=["records"])

_BLOCK = 1024 * 1024


@router.get("")
def list_records(
    engine: EngineDep,
    window: LongWindowDep,
    workload_id: str | None = None,
    target_family: str | None = None,
    job_id: str | None = None,
    failed: Annotated[bool | None, Query(description="true: only failed ones, false: only good ones")] = None,
) -> Page[RecordOut]:
    """Records without their traces, fastest first, failed ones last."""
    with read(engine) as session:
        found = records.find(session, workload_id, target_family, job_id, failed, window)
    return page_of([record_out(row) for row in found.rows], found, window)


@router.get("/export", response_class=StreamingResponse)
def export_records(
    engine: EngineDep,
    workload_id: str | None = None,
    target_family: str | None = None,
    job_id: str | None = None,
    failed: Annotated[bool, Query(description="failed candidates too")] = False,
    format: Literal["log", "metaschedule"] = "log",
) -> StreamingResponse:
    """Records as a log of JSON lines, or as a zip of the two files MetaSchedule's JSONDatabase reads."""
    wanted = (workload_id, target_family, job_id, failed)
    if format == "log":
        return _attachment(_log_lines(engine, *wanted), "application/x-ndjson", "records.jsonl")
    file = tempfile.TemporaryFile()  # noqa: SIM115 (closed once it is sent)
    with read(engine) as session:
        metaschedule.export_archive(session, file, *wanted)
    return _attachment(_content(file), "application/zip", "records-metaschedule.zip")


@router.delete("")
def delete_records(
    engine: EngineDep,
    workload_id: str | None = None,
    target_family: str | None = None,
    job_id: str | None = None,
    failed: Annotated[bool, Query(description="only failed ones")] = False,
) -> RecordsChanged:
    """Delete the records of a workload, a target family or a job; at least one of them must be named."""
    _refuse_all(workload_id, target_family, job_id)
    with write(engine) as session:
        return RecordsChanged(records=records.delete_all(session, workload_id, target_family, job_id, failed))


@router.post("/reopen")
def reopen_records(
    engine: EngineDep, workload_id: str | None = None, target_family: str | None = None, job_id: str | None = None
) -> RecordsChanged:
    """Let candidates that failed be tried again; at least one of workload, target family and job must be named."""
    _refuse_all(workload_id, target_family, job_id)
    with write(engine) as session:
        return RecordsChanged(records=records.reopen(session, workload_id, target_family, job_id))


@router.post("/import", openapi_extra=REQUEST_BODY, response_model_exclude_defaults=True)
def import_records(engine: EngineDep, file: Annotated[IO[bytes], Depends(uploaded_file)]) -> ImportOut:
    """Import a log of ours or of Ansor, gzipped or not; damaged lines and known records are counted."""
    return store.import_file(engine, file)


def _refuse_all(*named: str | None) -> None:
    if not any(named):
        raise InvalidInput("No records are named.", "Give a workload_id, a target_family or a job_id.")


def _log_lines(
    engine: Engine, workload_id: str | None, family: str | None, job_id: str | None, failed: bool
) -> Iterator[str]:
    with read(engine) as session:
        yield from log.export_lines(session, workload_id, family, job_id, failed)


def _content(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block


def _attachment(content: Iterator[str] | Iterator[bytes], media_type: str, name: str) -> StreamingResponse:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(content, media_type=media_type, headers=headers)
