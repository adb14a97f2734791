"""Downloads go on where they broke off, and only a whole, matching file gets its name."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from tests.support.fake_service import FakeService
from tests.support.samples import artifact, job
from tuner.client.download import download, wanted
from tuner.errors import ArtifactMissing, Conflict, InvalidInput, ServiceUnreachable, StorageFull

CONTENT = bytes(range(256)) * 40
SHA = hashlib.sha256(CONTENT).hexdigest()
PATH = "/v1/artifacts/art-1/download"


@pytest.fixture
def service() -> FakeService:
    return FakeService([job()], content=CONTENT)


def fetch(service: FakeService, path: Path, sha256: str = SHA) -> list[int]:
    told: list[int] = []
    assert download(service.client(), wanted(artifact(CONTENT, sha256)), path, told.append) == path
    return told


def test_an_artifact_is_downloaded_by_its_id_into_a_folder(service: FakeService, tmp_path: Path) -> None:
    assert service.client().download("art-1", tmp_path) == tmp_path / "art-1.tar"
    assert (tmp_path / "art-1.tar").read_bytes() == CONTENT


def test_a_download_is_awaited(service: FakeService, tmp_path: Path) -> None:
    async def fetch() -> Path:
        async with service.async_client() as client:
            return await client.download("art-1", tmp_path / "a.tar")

    assert asyncio.run(fetch()).read_bytes() == CONTENT


def test_a_job_without_an_artifact_says_what_it_is_at(service: FakeService, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="job-1 has no artifact: it is tuning"):
        service.client().download("job-1", tmp_path)


def part_of(path: Path, sha256: str = SHA) -> Path:
    """Where what has come of a download lies."""
    return path.with_name(f"{path.name}.{sha256[:12]}.part")


def test_download_writes_the_file_and_tells_progress(service: FakeService, tmp_path: Path) -> None:
    told = fetch(service, tmp_path / "new" / "a.tar")
    assert (tmp_path / "new" / "a.tar").read_bytes() == CONTENT
    assert told[-1] == len(CONTENT)


@pytest.mark.parametrize("manifest", [{}, {"files": {}}])
def test_a_library_without_a_checksum_is_refused_by_name(manifest: dict[str, object]) -> None:
    made = artifact(CONTENT, SHA).model_copy(update={"manifest": manifest})
    with pytest.raises(InvalidInput, match=r"art-\S+ has no checksum of lib\.so"):
        wanted(made, "so")


def test_broken_download_goes_on_where_it_was(service: FakeService, tmp_path: Path) -> None:
    service.breaks = [4000]
    with pytest.raises(ServiceUnreachable, match=f"broke off at 4000 of {len(CONTENT)}") as caught:
        fetch(service, tmp_path / "a.tar")
    assert "goes on from there" in caught.value.hint
    assert not (tmp_path / "a.tar").exists()
    fetch(service, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == CONTENT
    assert service.asked(PATH)[-1].headers["Range"] == "bytes=4000-"


def test_rest_of_another_file_is_not_glued_on(service: FakeService, tmp_path: Path) -> None:
    part_of(tmp_path / "a.tar").write_bytes(b"x" * 100)
    with pytest.raises(ArtifactMissing, match="does not match its checksum"):
        fetch(service, tmp_path / "a.tar")
    fetch(service, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == CONTENT


def test_a_strangers_part_and_that_of_another_file_are_left_alone(service: FakeService, tmp_path: Path) -> None:
    others = [tmp_path / "a.tar.part", part_of(tmp_path / "a.tar", "0" * 64)]
    for other in others:
        other.write_bytes(b"years of work")
    fetch(service, tmp_path / "a.tar")
    assert [other.read_bytes() for other in others] == [b"years of work"] * 2
    assert len(list(tmp_path.iterdir())) == 3


def test_file_that_is_there_is_not_asked_for_again(service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(CONTENT)
    assert fetch(service, tmp_path / "a.tar") == [len(CONTENT)]
    assert not service.asked(PATH)


def test_part_that_is_whole_already_only_gets_its_name(service: FakeService, tmp_path: Path) -> None:
    part_of(tmp_path / "a.tar").write_bytes(CONTENT)
    fetch(service, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == CONTENT
    assert not service.asked(PATH)


def test_full_disk_is_named(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full takes opens and refuses writes with ENOSPC."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    monkeypatch.setattr(Path, "with_name", lambda self, name: full)
    with pytest.raises(StorageFull, match="No space left on device"):
        fetch(service, Path("/dev/a.tar"))


def test_a_bundle_is_kept_only_if_it_is_whole_and_of_that_artifact(service: FakeService, tmp_path: Path) -> None:
    files = {"params.safetensors": SHA, "lib.so": SHA}
    made = artifact(CONTENT, SHA).model_copy(update={"manifest": {"library": "lib.so", "files": files}})
    file = wanted(made, "bundle")
    assert (file.name, file.path) == (f"{made.id}-bundle.tar", f"/v1/artifacts/{made.id}/download?format=bundle")
    with pytest.raises(ArtifactMissing, match="does not match"):
        download(service.client(), file, tmp_path / "b.tar", lambda done: None)
    assert not list(tmp_path.iterdir())
