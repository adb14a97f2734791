"""One uploaded file, as a multipart form or as the raw body: on the data directory's disk, as it arrives."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Any, cast

from anyio.to_thread import run_sync
from fastapi import Request
from starlette.requests import ClientDisconnect

from api.form_file import HINT, FormFile
from tuner.config import Settings
from tuner.db.engine import storage_full
from tuner.errors import UploadInvalid

MIB = 1024 * 1024
_IN_MEMORY_BYTES = MIB
_LOOK_EVERY_BYTES = 8 * MIB  # how much is written between two looks at the disk
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "required": ["file"], "properties": {"file": _BINARY["schema"]}}}

REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/x-ndjson": _BINARY, "application/gzip": _BINARY, "multipart/form-data": _FORM},
    }
}


async def uploaded_file(request: Request) -> AsyncIterator[IO[bytes]]:
    """The upload as a seekable file. Raises UploadInvalid when it is empty or ends too early, Busy, StorageFull."""
    async with request.app.state.uploads.turn():
        spool = await run_sync(Spool, request.app.state.settings)
        with spool.file:
            await _receive(request, spool)
            yield spool.file


class Spool:
    """A file without a name below the data directory: whatever becomes of this process, nothing of it is left."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._look_at = _IN_MEMORY_BYTES
        settings.temporary_dir.mkdir(parents=True, exist_ok=True)
        spool = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(settings.temporary_dir))  # noqa: SIM115
        self.file = cast(IO[bytes], spool)

    def write(self, chunk: bytes) -> None:
        """Add some bytes. Raises StorageFull before the disk is."""
        if self.file.tell() + len(chunk) > self._look_at:
            self._look_at += _LOOK_EVERY_BYTES
            if shutil.disk_usage(self._settings.root).free < self._settings.min_free_bytes + _LOOK_EVERY_BYTES:
                raise storage_full(self._settings.root)
        self.file.write(chunk)


async def _receive(request: Request, spool: Spool) -> None:
    content_type = request.headers.get("content-type", "")
    form = FormFile(content_type, spool.write) if content_type.startswith("multipart/form-data") else None
    take = form.feed if form else spool.write
    try:
        async for chunk in request.stream():
            await run_sync(take, chunk)
    except ClientDisconnect as exc:
        raise UploadInvalid("The upload ended too early.", "Send it again.") from exc
    if form:
        form.finish()
    if not spool.file.tell():
        raise UploadInvalid("The upload is empty.", HINT)
    spool.file.seek(0)
