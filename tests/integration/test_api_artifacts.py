from __future__ import annotations

import hashlib
import io
import json
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tuner.artifact.bundle import is_intact
from tuner.config import Settings
from tuner.db import artifacts
from tuner.db.engine import write
from tuner.db.models import Artifact

FILES = {"manifest.json": b"{}", "lib.so": b"\x7fELF" * 1000}
DOWNLOAD = "/v1/artifacts/art-1/download"


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def path(engine: Engine, settings: Settings) -> Path:
    """The file of artifact art-1."""
    content = _tar(FILES)
    settings.artifacts_dir.mkdir(parents=True)
    path = settings.artifacts_dir / "art-1.tar"
    path.write_bytes(content)
    with write(engine) as session:
        artifacts.put(
            session,
            Artifact(
                id="art-1",
                job_id="job-1",
                path="art-1.tar",
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                manifest={"files": {"lib.so": hashlib.sha256(FILES["lib.so"]).hexdigest()}},
            ),
        )
    return path


def test_an_artifact_is_listed_and_shown(client: TestClient, path: Path) -> None:
    assert client.get("/v1/artifacts", params={"job_id": "job-1"}).json()["total"] == 1
    assert client.get("/v1/artifacts", params={"job_id": "job-2"}).json()["total"] == 0
    assert client.get("/v1/artifacts/art-1").json()["size_bytes"] == path.stat().st_size
    assert "art-9" in client.get("/v1/artifacts/art-9").json()["error"]["message"]


def test_a_download_is_the_tar_with_its_hash_as_etag(client: TestClient, path: Path) -> None:
    answer = client.get(DOWNLOAD)
    assert answer.content == path.read_bytes()
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert answer.headers["content-disposition"] == 'attachment; filename="art-1.tar"'
    head = client.head(DOWNLOAD)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(answer.content)), b"")


def test_a_broken_download_is_resumed(client: TestClient, path: Path) -> None:
    whole = path.read_bytes()
    etag = client.head(DOWNLOAD).headers["etag"]
    rest = client.get(DOWNLOAD, headers={"range": "bytes=1000-", "if-range": etag})
    assert (rest.status_code, rest.content) == (206, whole[1000:])
    assert rest.headers["content-range"] == f"bytes 1000-{len(whole) - 1}/{len(whole)}"
    assert client.get(DOWNLOAD, headers={"range": "bytes=0-3"}).content == whole[:4]
    assert client.get(DOWNLOAD, headers={"range": "bytes=-4"}).content == whole[-4:]


def test_a_changed_file_is_sent_whole_not_resumed(client: TestClient, path: Path) -> None:
    answer = client.get(DOWNLOAD, headers={"range": "bytes=1000-", "if-range": '"another"'})
    assert (answer.status_code, answer.content) == (200, path.read_bytes())


def test_a_file_that_is_known_is_not_sent_again(client: TestClient, path: Path) -> None:
    etag = client.head(DOWNLOAD).headers["etag"]
    for tag in (etag, f'"x", W/{etag}', "*"):
        answer = client.get(DOWNLOAD, headers={"if-none-match": tag})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert client.get(DOWNLOAD, headers={"if-none-match": '"x"'}).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    ["bytes=999999999-", "pages=1-2", "bytes=", "bytes=a-b", f"bytes={'9' * 5000}-", f"bytes=0-{'9' * 5000}"],
    ids=range(6),
)
def test_a_range_that_is_not_there_is_refused(client: TestClient, path: Path, wrong: str) -> None:
    answer = client.get(DOWNLOAD, headers={"range": wrong})
    assert (answer.status_code, answer.json()["error"]["code"]) == (416, "invalid_input")
    assert answer.headers["content-range"] == f"bytes */{path.stat().st_size}"


def test_a_file_that_is_gone_is_told_with_a_way_out(client: TestClient, path: Path) -> None:
    path.unlink()
    for answer in (client.get(DOWNLOAD), client.post("/v1/artifacts/art-1/verify")):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (410, "artifact_missing")
        assert "art-1" in error["message"]
        assert "tunesmith tune" in error["hint"]


def test_an_untouched_artifact_verifies(client: TestClient, path: Path) -> None:
    assert client.post("/v1/artifacts/art-1/verify").json() == {"id": "art-1", "ok": True, "problems": []}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_tar({**FILES, "lib.so": b"changed"}), "lib.so: sha256 differs"),
        (_tar({"manifest.json": b"{}"}), "lib.so: missing"),
        (_tar(FILES)[:1500], "art-1.tar"),
        (b"no tar at all", "not a readable tar"),
    ],
)
def test_a_damaged_artifact_says_what_is_wrong(client: TestClient, path: Path, content: bytes, says: str) -> None:
    path.write_bytes(content)
    out = client.post("/v1/artifacts/art-1/verify").json()
    assert out["ok"] is False
    assert any(says in problem for problem in out["problems"])


@pytest.fixture
def for_a_mac(engine: Engine, settings: Settings) -> None:
    """Artifact art-2, whose library is one for macOS."""
    members = {"lib.dylib": b"a library", "source.metal": b"kernel void f()"}
    settings.artifacts_dir.mkdir(parents=True, exist_ok=True)
    content = _tar(members)
    (settings.artifacts_dir / "art-2.tar").write_bytes(content)
    manifest = {
        "library": "lib.dylib",
        "source": "source.metal",
        "files": {name: hashlib.sha256(member).hexdigest() for name, member in members.items()},
    }
    sha256 = hashlib.sha256(content).hexdigest()
    row = Artifact(
        id="art-2", job_id="job-1", path="art-2.tar", size_bytes=len(content), sha256=sha256, manifest=manifest
    )
    with write(engine) as session:
        artifacts.put(session, row)


@pytest.mark.parametrize(
    ("form", "content", "name"),
    [
        ("so", b"a library", "art-2.so"),
        ("dylib", b"a library", "art-2.dylib"),
        ("source", b"kernel void f()", "art-2.metal"),
    ],
)
def test_a_member_is_had_alone_and_a_macs_library_under_both_names(
    client: TestClient, for_a_mac: None, form: str, content: bytes, name: str
) -> None:
    url = f"/v1/artifacts/art-2/download?format={form}"
    answer = client.get(url)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert client.get(url, headers={"if-none-match": answer.headers["etag"]}).status_code == 304


def test_the_tar_is_the_format_unless_another_is_asked_for(client: TestClient, path: Path) -> None:
    assert client.get(DOWNLOAD, params={"format": "tar"}).content == path.read_bytes()


@pytest.mark.parametrize(("form", "said"), [("dylib", "not for macOS"), ("source", "source text"), ("exe", "format")])
def test_a_format_the_artifact_does_not_have_is_refused(client: TestClient, path: Path, form: str, said: str) -> None:
    answer = client.get(DOWNLOAD, params={"format": form})
    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]


def test_a_tar_without_its_library_says_so(client: TestClient, for_a_mac: None, settings: Settings) -> None:
    (settings.artifacts_dir / "art-2.tar").write_bytes(_tar({"manifest.json": b"{}"}))
    error = client.get("/v1/artifacts/art-2/download", params={"format": "so"}).json()["error"]
    assert error["code"] == "artifact_missing"
    assert "lib.dylib" in error["message"]


def test_a_bundle_is_made_as_it_is_sent(client: TestClient, engine: Engine, settings: Settings, tmp_path: Path) -> None:
    members = {"lib.so": b"a library", "params.safetensors": b"weights", "loader.py": b"pass"}
    tensor = {"name": "x", "dtype": "float32", "shape": [1]}
    manifest = {
        "library": "lib.so",
        "target": {"kind": "llvm"},
        "versions": {"tvm": version("apache-tvm")},
        "inputs": [tensor],
        "outputs": [tensor],
        "files": {name: hashlib.sha256(member).hexdigest() for name, member in members.items()},
    }
    content = _tar({"manifest.json": json.dumps(manifest).encode(), **members})
    settings.artifacts_dir.mkdir(parents=True, exist_ok=True)
    (settings.artifacts_dir / "art-3.tar").write_bytes(content)
    with write(engine) as session:
        row = {"id": "art-3", "job_id": "job-1", "path": "art-3.tar", "size_bytes": len(content), "sha256": "0"}
        artifacts.put(session, Artifact(**row, manifest=manifest))
    url = "/v1/artifacts/art-3/download?format=bundle"
    answer, head = client.get(url), client.head(url)
    assert (answer.status_code, head.status_code, head.content) == (200, 200, b"")
    assert int(answer.headers["content-length"]) == int(head.headers["content-length"]) == len(answer.content)
    assert answer.headers["content-disposition"] == 'attachment; filename="art-3-bundle.tar"'
    (tmp_path / "b.tar").write_bytes(answer.content)
    assert is_intact(tmp_path / "b.tar", manifest)
    with tarfile.open(tmp_path / "b.tar") as archive:
        names = set(archive.getnames())
    assert {"lib/lib.so", "lib/libtvm_runtime.so", "lib/libtvm_ffi.so", "include/tunesmith.h", "example.cc"} <= names
    assert "loader.py" not in names


def test_a_bundle_for_another_machine_is_refused(client: TestClient, path: Path) -> None:
    answer = client.get(DOWNLOAD, params={"format": "bundle"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_input")
    assert "A bundle runs on a CPU" in answer.json()["error"]["message"]
