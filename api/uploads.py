"""One uploaded file, as a multipart form or as the raw body, never larger than allowed."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from typing import IO, Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from tuner.errors import UploadInvalid

_IN_MEMORY_BYTES = 1024 * 1024
_HINT = "Send the file as the body (`curl --data-binary @records.jsonl`) or as the form field `file`."
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "required": ["file"], "properties": {"file": _BINARY["schema"]}}}

REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/x-ndjson": _BINARY, "application/gzip": _BINARY, "multipart/form-data": _FORM},
    }
}


async def uploaded_file(request: Request) -> AsyncIterator[IO[bytes]]:
    """The upload as a seekable file. Raises UploadInvalid when it is empty, too large or ends too early."""
    limited = Request(request.scope, _Limited(request).receive)
    form = request.headers.get("content-type", "").startswith("multipart/form-data")
    try:
        if form:
            async with limited.form() as fields:
                field = fields.get("file")
                if not isinstance(field, UploadFile):
                    raise UploadInvalid("The form has no file in its field `file`.", _HINT)
                yield _not_empty(field.file)
        else:
            with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
                async for chunk in limited.stream():
                    spool.write(chunk)
                yield _not_empty(spool)
    except ClientDisconnect as exc:
        raise UploadInvalid("The upload ended too early.", "Send it again.") from exc
    except HTTPException as exc:  # the form's parser
        raise UploadInvalid(f"The upload is no complete form: {exc.detail}", _HINT) from exc


class _Limited:
    """Counts what comes in and stops at the limit, before it fills the disk."""

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self._left = self._limit = request.app.state.settings.max_upload_bytes

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise UploadInvalid(
                f"The upload is larger than {self._limit} bytes.", "Split it, or set TUNER_MAX_UPLOAD_BYTES higher."
            )
        return message


def _not_empty(file: Any) -> IO[bytes]:
    if not file.seek(0, 2):
        raise UploadInvalid("The upload is empty.", _HINT)
    file.seek(0)
    binary: IO[bytes] = file
    return binary
