"""Downloads an artifact: goes on where an earlier try broke off, and keeps only what matches its checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from tuner.client.http import Client
from tuner.errors import ArtifactMissing, ServiceUnreachable, StorageFull
from tuner.schemas import ArtifactOut

_BLOCK = 1 << 20


def download(client: Client, artifact: ArtifactOut, destination: Path, progress: Callable[[int], None]) -> Path:
    """Writes the artifact to ``destination`` and returns it; ``progress`` hears the bytes there are so far.

    What has come lies in ``<destination>.part`` until it is whole, so a second try asks for the rest only.
    A file that is there and matches is left alone.
    """
    if destination.is_file() and _sha256(destination) == artifact.sha256:
        progress(artifact.size_bytes)
        return destination
    part = destination.with_name(destination.name + ".part")
    destination.parent.mkdir(parents=True, exist_ok=True)
    if part.exists() and part.stat().st_size > artifact.size_bytes:
        part.unlink()
    try:
        _fetch_rest(client, artifact, part, progress)
    except OSError as error:
        raise StorageFull(
            f"{part} can't be written: {error.strerror}.", "Free some space, or give another path with -o."
        ) from error
    if _sha256(part) != artifact.sha256:
        part.unlink()
        raise ArtifactMissing(
            f"What was downloaded of {artifact.id} does not match its checksum.",
            "Download it again; if that fails too, the service's file is damaged: tune the model again.",
        )
    part.replace(destination)
    return destination


def _fetch_rest(client: Client, artifact: ArtifactOut, part: Path, progress: Callable[[int], None]) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have == artifact.size_bytes:
        return
    headers = {"Accept-Encoding": "identity"}
    if have:  # should the file have changed, If-Range makes the whole of the new one come
        headers |= {"Range": f"bytes={have}-", "If-Range": f'"{artifact.sha256}"'}
    began = False
    try:
        with client.stream(f"/v1/artifacts/{artifact.id}/download", headers=headers) as response:
            began, resumed = True, response.status_code == 206
            have = have if resumed else 0
            with part.open("ab" if resumed else "wb") as file:
                for block in response.iter_bytes():
                    file.write(block)
                    have += len(block)
                    progress(have)
    except ServiceUnreachable as error:
        if not began:
            raise
        raise ServiceUnreachable(
            f"The download of {artifact.id} broke off at {have} of {artifact.size_bytes} bytes.",
            "Give the same command again; it goes on from there.",
        ) from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
