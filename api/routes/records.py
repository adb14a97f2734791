"""Records: query, export, import."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from api.deps import EngineDep, LongWindowDep, SettingsDep, page_of
from api.uploads import REQUEST_BODY, uploaded_file
from api.work import while_connected
from tuner.db import bulk, log, metaschedule, records
from tuner.db.engine import read
from tuner.errors import InvalidInput
from tuner.jobs.view import record_out
from tuner.legacy import store
from tuner.schemas import ImportOut, Page, RecordOut, RecordsChanged

router = APIRouter(prefix="/records", tags=["records"])

_BLOCK = 64 * 1024


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
async def export_records(
    request: Request,
    engine: EngineDep,
    settings: SettingsDep,
    workload_id: str | None = None,
    target_family: str | None = None,
    job_id: str | None = None,
    failed: Annotated[bool, Query(description="failed candidates too")] = False,
    format: Literal["log", "metaschedule"] = "log",
) -> StreamingResponse:
    """Records as a log of JSON lines, or as a zip of the two files MetaSchedule's JSONDatabase reads."""
    wanted = (workload_id, target_family, job_id, failed)
    if format == "log":
        blocks = request.app.state.gaps.each(_in_blocks(log.export_lines(engine, *wanted)))
        return _attachment(blocks, "application/x-ndjson", "records.jsonl")

    def pack(still_wanted: Callable[[], bool]) -> IO[bytes]:
        settings.temporary_dir.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=settings.temporary_dir)  # noqa: SIM115 (closed once it is sent)
        still_wanted = request.app.state.gaps.asking(still_wanted)
        metaschedule.export_archive(engine, file, *wanted, still_wanted=still_wanted)
        return file

    async with request.app.state.heavy.turn():
        file = await while_connected(request, pack)
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
    return RecordsChanged(records=bulk.delete_all(engine, workload_id, target_family, job_id, failed))


@router.post("/reopen")
def reopen_records(
    engine: EngineDep, workload_id: str | None = None, target_family: str | None = None, job_id: str | None = None
) -> RecordsChanged:
    """Let candidates that failed be tried again; at least one of workload, target family and job must be named."""
    _refuse_all(workload_id, target_family, job_id)
    return RecordsChanged(records=bulk.reopen(engine, workload_id, target_family, job_id))


@router.post("/import", openapi_extra=REQUEST_BODY, response_model_exclude_defaults=True)
async def import_records(
    request: Request, engine: EngineDep, settings: SettingsDep, file: Annotated[IO[bytes], Depends(uploaded_file)]
) -> ImportOut:
    """Import a log of ours or of Ansor, gzipped or not; damaged lines and known records are counted."""
    async with request.app.state.imports.turn():

        def bring_in(still_wanted: Callable[[], bool]) -> ImportOut:
            asking = request.app.state.gaps.asking(still_wanted)
            return store.import_file(engine, file, settings.max_unpacked_bytes, asking)

        return await while_connected(request, bring_in)


def _refuse_all(*named: str | None) -> None:
    if not any(named):
        raise InvalidInput("No records are named.", "Give a workload_id, a target_family or a job_id.")


def _in_blocks(lines: Iterator[str]) -> Iterator[str]:
    """Some lines at a time: each is fetched by a thread of its own, which costs more than most lines do."""
    block: list[str] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size >= _BLOCK:
            yield "".join(block)
            block, size = [], 0
    yield "".join(block)


def _content(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block


def _attachment(content: Iterator[str] | Iterator[bytes], media_type: str, name: str) -> StreamingResponse:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(content, media_type=media_type, headers=headers)
