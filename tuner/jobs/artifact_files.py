"""The stored files of artifacts: where they lie, and whether they still are what they were."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from tuner.config import Settings
from tuner.db.models import Artifact
from tuner.errors import ArtifactMissing
from tuner.schemas import ArtifactCheck

_BLOCK = 1024 * 1024


def locate(settings: Settings, artifact: Artifact) -> Path:
    """The artifact's tar. Raises ArtifactMissing when it is gone."""
    path = settings.artifacts_dir / artifact.path
    if not path.is_file():
        why = f"is gone: {path}"
        if artifact.evicted_at:
            why = f"was removed on {artifact.evicted_at:%Y-%m-%d}, as TUNER_KEEP_ARTIFACTS_DAYS says"
        raise ArtifactMissing(
            f"The file of artifact {artifact.id} {why}.",
            "Submit its job again with `tunesmith tune`: it starts from the records and makes the same artifact.",
        )
    return path


def read_member(settings: Settings, artifact: Artifact, name: str) -> bytes:
    """One file of the tar. Raises ArtifactMissing when the tar is gone or lacks it."""
    path = locate(settings, artifact)
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile(name)
            assert member is not None  # only files are packed
            return member.read()
    except (KeyError, tarfile.TarError, OSError) as error:
        raise ArtifactMissing(
            f"{name} can't be read from the file of artifact {artifact.id}: {error}.",
            f"POST /v1/artifacts/{artifact.id}/verify says what is damaged; tune the model again to make a new one.",
        ) from error


def check(settings: Settings, artifact: Artifact, pause: Callable[[], None] = lambda: None) -> ArtifactCheck:
    """Compare the tar with its stored hash, and each member with the manifest; ``pause`` is called before each block.

    Raises ArtifactMissing.
    """
    path = locate(settings, artifact)
    with path.open("rb") as file:
        problems = (
            [] if _sha256(file, pause) == artifact.sha256 else [f"{artifact.path}: sha256 differs from the database's"]
        )
    problems += list(_member_problems(path, artifact.manifest.get("files", {}), pause))
    return ArtifactCheck(id=artifact.id, ok=not problems, problems=problems)


def _member_problems(path: Path, wanted: dict[str, str], pause: Callable[[], None]) -> Iterator[str]:
    missing = set(wanted)
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name in wanted and (content := archive.extractfile(member)) is not None:
                    missing.discard(member.name)
                    if _sha256(content, pause) != wanted[member.name]:
                        yield f"{member.name}: sha256 differs from the manifest's"
    except (tarfile.TarError, OSError) as exc:
        yield f"{path.name}: not a readable tar ({exc})"
    yield from (f"{name}: missing" for name in sorted(missing))


def _sha256(file: IO[bytes], pause: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        pause()
        digest.update(block)
    return digest.hexdigest()
