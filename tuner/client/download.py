"""Downloads an artifact: goes on where an earlier try broke off, and keeps only what matches its checksum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.artifact import bundle
from tuner.artifact.format import file_name, member_name, sha256_of
from tuner.errors import ArtifactMissing, InvalidInput, ServiceUnreachable, StorageFull
from tuner.schemas import ArtifactOut

if TYPE_CHECKING:
    from tuner.client.http import Client


@dataclass(frozen=True)
class Wanted:
    """A file of the service: what to call it, where it is had, and what it must be; None where the size is not told.

    A ``bundle`` is made while it is sent: what it must be is told by its own list and its artifact's manifest, and
    ``sha256`` is its artifact's.
    """

    name: str
    path: str
    sha256: str
    size_bytes: int | None
    bundle: Mapping[str, Any] = field(default_factory=dict)

    def is_in(self, file: Path) -> bool:
        """Is that what ``file`` holds?"""
        return bundle.is_intact(file, self.bundle) if self.bundle else sha256_of(file) == self.sha256


def wanted(artifact: ArtifactOut, form: str = "tar") -> Wanted:
    """An artifact in one of its formats. Raises InvalidInput when it does not have that one."""
    name, path = file_name(artifact.id, artifact.manifest, form), f"/v1/artifacts/{artifact.id}/download"
    if form == "tar":
        return Wanted(name, path, artifact.sha256, artifact.size_bytes)
    if form == "bundle":
        return Wanted(name, f"{path}?format=bundle", artifact.sha256, None, artifact.manifest)
    member = member_name(artifact.manifest, form)
    sha256 = artifact.manifest.get("files", {}).get(member)
    if sha256 is None:
        raise InvalidInput(
            f"The manifest of {artifact.id} has no checksum of {member}.",
            "Download the tar, or compile the model again.",
        )
    return Wanted(name, f"{path}?format={form}", sha256, None)


def download(client: Client, file: Wanted, destination: Path, progress: Callable[[int], None]) -> Path:
    """Writes the file to ``destination`` and returns it; ``progress`` hears the bytes there are so far.

    What has come lies beside it, in ``<destination>.<begin of its checksum>.part``, until it is whole, so a second try
    asks for the rest only.
    A file that is there and matches is left alone.
    """
    if destination.is_file() and file.is_in(destination):
        progress(destination.stat().st_size)
        return destination
    part = destination.with_name(f"{destination.name}.{file.sha256[:12]}.part")  # no other file's, and nobody else's
    destination.parent.mkdir(parents=True, exist_ok=True)
    if part.exists() and file.size_bytes is not None and part.stat().st_size > file.size_bytes:
        part.unlink()
    try:
        _fetch_rest(client, file, part, progress)
    except OSError as error:
        raise StorageFull(
            f"{part} can't be written: {error.strerror}.", "Free some space, or give another path with -o."
        ) from error
    if not file.is_in(part):
        part.unlink()
        raise ArtifactMissing(
            f"What was downloaded as {file.name} does not match its checksum.",
            "Download it again; if that fails too, the service's file is damaged: tune the model again.",
        )
    part.replace(destination)
    return destination


def _fetch_rest(client: Client, file: Wanted, part: Path, progress: Callable[[int], None]) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have == file.size_bytes:
        return
    headers = {"Accept-Encoding": "identity"}
    if have:  # should the file have changed, If-Range makes the whole of the new one come
        headers |= {"Range": f"bytes={have}-", "If-Range": f'"{file.sha256}"'}
    began = False
    try:
        with client.stream(file.path, headers=headers) as response:
            began, resumed = True, response.status_code == 206
            have = have if resumed else 0
            with part.open("ab" if resumed else "wb") as out:
                for block in response.iter_bytes():
                    out.write(block)
                    have += len(block)
                    progress(have)
    except ServiceUnreachable as error:
        if not began:
            raise
        size = f" of {file.size_bytes}" if file.size_bytes is not None else ""
        raise ServiceUnreachable(
            f"The download of {file.name} broke off at {have}{size} bytes.",
            "Give the same command again; it goes on from there.",
        ) from error
