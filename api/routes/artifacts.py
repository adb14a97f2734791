"""Artifacts: list, download, verify."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from api.deps import EngineDep, SettingsDep, WindowDep, page_of
from api.errors import answer
from api.work import while_connected
from tuner.artifact import bundle
from tuner.artifact.format import file_name, member_name
from tuner.config import Settings
from tuner.db import artifacts, device_checks, devices
from tuner.db.engine import read, write
from tuner.db.models import Artifact
from tuner.errors import InvalidInput
from tuner.jobs import artifact_files
from tuner.schemas import ArtifactCheck, ArtifactOut, DeviceCheckIn, DeviceCheckOut, Page

router = APIRouter(prefix="/artifacts", tags=["artifacts"])

Format = Literal["tar", "so", "dylib", "source", "bundle"]

_LIBRARY = "application/octet-stream"
_RANGES = re.compile(r"bytes=(\d{1,18}-\d{0,18}|-\d{1,18})(\s*,\s*(\d{1,18}-\d{0,18}|-\d{1,18}))*")


@router.get("")
def list_artifacts(engine: EngineDep, window: WindowDep, job_id: str | None = None) -> Page[ArtifactOut]:
    """Artifacts, newest first; of one job if given."""
    with read(engine) as session:
        found = artifacts.find(session, job_id, window)
        shown = device_checks.shown(session, found.rows)
    return page_of(shown, found, window)


@router.get("/{artifact_id}")
def get_artifact(artifact_id: str, engine: EngineDep) -> ArtifactOut:
    """One artifact, its manifest, and what devices found of it."""
    with read(engine) as session:
        return device_checks.shown(session, [artifacts.get(session, artifact_id)])[0]


@router.post("/{artifact_id}/check")
def check_artifact(artifact_id: str, body: DeviceCheckIn, engine: EngineDep, settings: SettingsDep) -> DeviceCheckOut:
    """Have a device of the fleet load and run it; `GET /v1/artifacts/{artifact_id}` says what came of that."""
    with write(engine) as session:
        artifact = artifacts.get(session, artifact_id)
        device = devices.known_other(session, body.device, settings.device_key)
        return device_checks.as_shown(device_checks.ask(session, artifact.id, device.key))


@router.head("/{artifact_id}/download", include_in_schema=False)
@router.get("/{artifact_id}/download", response_class=FileResponse)
def download_artifact(
    artifact_id: str,
    engine: EngineDep,
    settings: SettingsDep,
    request: Request,
    form: Annotated[Format, Query(alias="format")] = "tar",
) -> Response:
    """The tar, its library alone (macOS: under either name) or its generated code as text; the ETag is the sha256.

    The tar takes ranges, so a download of it can be resumed. The bundle is a tar for programs that are not Python; the
    SHA256SUMS in it names what all of it must be, and its ETag is the sha256 of that list.
    """
    with read(engine) as session:
        artifact = artifacts.get(session, artifact_id)
    if form == "bundle":
        return _bundle(request, settings, artifact)
    member = None if form == "tar" else member_name(artifact.manifest, form)
    sha256 = artifact.manifest.get("files", {}).get(member, artifact.sha256)
    headers = {"etag": f'"{sha256}"', "cache-control": "private, no-cache"}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if headers["etag"] in known or "*" in known:
        return Response(status_code=304, headers=headers)
    if member is not None:
        name = file_name(artifact.id, artifact.manifest, form)
        headers["content-disposition"] = f'attachment; filename="{name}"'
        content = artifact_files.read_member(settings, artifact, member)
        return Response(content, media_type="text/plain" if form == "source" else _LIBRARY, headers=headers)
    path = artifact_files.locate(settings, artifact)
    if problem := _range_problem(request.headers.get("range"), artifact.size_bytes):
        return answer(
            InvalidInput(problem, "Ask for the whole file, or for bytes=START-."),
            416,
            {"content-range": f"bytes */{artifact.size_bytes}"},
        )
    return FileResponse(path, media_type="application/x-tar", filename=f"{artifact.id}.tar", headers=headers)


@router.post("/{artifact_id}/verify")
async def verify_artifact(
    artifact_id: str, engine: EngineDep, settings: SettingsDep, request: Request
) -> ArtifactCheck:
    """Compare the stored file with its hash and each file in it with the manifest."""

    def check(still_wanted: Callable[[], bool]) -> ArtifactCheck:
        with read(engine) as session:
            artifact = artifacts.get(session, artifact_id)
        return artifact_files.check(settings, artifact, request.app.state.gaps.wait)

    async with request.app.state.heavy.turn():
        return await while_connected(request, check)


def _bundle(request: Request, settings: Settings, artifact: Artifact) -> Response:
    made = bundle.bundle_of(artifact_files.locate(settings, artifact), artifact.manifest)
    headers = {
        "etag": f'"{made.tag}"',
        "cache-control": "private, no-cache",
        "content-length": str(made.size_bytes),
        "content-disposition": f'attachment; filename="{file_name(artifact.id, artifact.manifest, "bundle")}"',
    }
    if request.method == "HEAD":
        return Response(media_type="application/x-tar", headers=headers)
    return StreamingResponse(made.blocks(), media_type="application/x-tar", headers=headers)


def _range_problem(header: str | None, size_bytes: int) -> str:
    """Why the range can't be sent, in words; empty when it can. The file response itself would answer bare text."""
    if header is None:
        return ""
    if not _RANGES.fullmatch(header.strip()):
        return f"The range {header[:60]!r} can't be read."
    beyond = [start for start in re.findall(r"(\d+)-", header) if int(start) >= size_bytes]
    return f"The range {header[:60]!r} begins after the end of the file ({size_bytes} bytes)." if beyond else ""
