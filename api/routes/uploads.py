"""Uploads: models that are sent in parts, resumed, checked, listed and given up."""

from __future__ import annotations

from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool
from starlette.requests import ClientDisconnect

from api.deps import DeskDep, SenderDep, WindowDep, page_of
from tuner.errors import TunerError, UploadInvalid
from tuner.schemas import Page, UploadIn, UploadOut
from tuner.uploads.store import Part

router = APIRouter(prefix="/uploads", tags=["uploads"])

_THROWN_AWAY_BYTES = 16 * 2**20  # of a part that is refused, so that its sender gets to read why
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_HEADERS = {"Upload-Offset": {"description": "Where the file ends now.", "schema": {"type": "string"}}}


@router.post("", status_code=201, responses={200: {"model": UploadOut, "description": "These files are known."}})
def begin_upload(body: UploadIn, desk: DeskDep, sender: SenderDep, response: Response) -> UploadOut:
    """Begin an upload; of files that are here already, or on their way from you, it is the one that has them (200)."""
    upload, is_new = desk.begin(sender, body)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/v1/uploads/{upload.id}"
    return desk.told(upload)


@router.get("")
def list_uploads(desk: DeskDep, window: WindowDep) -> Page[UploadOut]:
    """Uploads, newest first."""
    found = desk.find(window)
    return page_of([desk.told(upload) for upload in found.rows], found, window)


@router.get("/{upload_id}")
def get_upload(upload_id: str, desk: DeskDep) -> UploadOut:
    """One upload, by id or name, with how far each of its files is."""
    return desk.told(desk.get(upload_id))


@router.put(
    "/{upload_id}/files/{path:path}",
    status_code=204,
    openapi_extra=_BODY,
    responses={204: {"headers": _HEADERS}},
)
async def add_part(
    upload_id: str,
    path: str,
    request: Request,
    desk: DeskDep,
    sender: SenderDep,
    upload_offset: Annotated[int, Header(ge=0, lt=2**62, description="where in the file the part begins")] = 0,
    content_range: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Add a part to a file, at its end: `Upload-Offset` says where that is taken to be. Parts may have any size; what
    came of one that broke off stays."""
    try:
        if content_range is not None:
            raise UploadInvalid("A part says where it begins in Upload-Offset.", "Leave out Content-Range.")
        async with request.app.state.parts.turn():
            adding = await run_sync(desk.adding, sender, upload_id, path, upload_offset)
            async with contextmanager_in_threadpool(adding) as part:
                await _receive(request, part)
    except TunerError:
        await _throw_away(request)
        raise
    return Response(status_code=204, headers={"upload-offset": str(part.offset)})


@router.post("/{upload_id}/complete")
async def complete_upload(upload_id: str, request: Request, desk: DeskDep, sender: SenderDep) -> UploadOut:
    """Check the SHA-256 of each file, unpack an archive, and let jobs use the upload."""
    async with request.app.state.completions.turn():
        upload = await run_sync(desk.complete, sender, upload_id, request.app.state.gaps.wait)
    return await run_sync(desk.told, upload)


@router.delete("/{upload_id}", status_code=204)
def delete_upload(upload_id: str, desk: DeskDep, sender: SenderDep) -> None:
    """Delete an upload, or give up one that is on its way; not while a job that waits or runs uses it. A token for
    `submit` may delete its own."""
    desk.delete(sender, upload_id)


async def _receive(request: Request, part: Part) -> None:
    try:
        async for chunk in request.stream():
            await run_sync(part.write, chunk)
    except ClientDisconnect as exc:
        raise UploadInvalid("The part ended too early; what has come of it is kept.", "Send the rest.") from exc


async def _throw_away(request: Request) -> None:
    left = _THROWN_AWAY_BYTES
    try:
        async for chunk in request.stream():
            left -= len(chunk)
            if left < 0:
                return
    except (ClientDisconnect, RuntimeError):  # it has left, or all of it was read
        return
