"""Models are sent in parts, resumed, checked and used by name; nothing else gets in, and what should go goes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.rest import talking_to
from tests.support.submitting import fetch_for
from tests.support.uploading import MODEL, begun, declared, put, sent, tarred, zipped
from tests.support.web_process import WebProcess, serve_process
from tuner.config import Settings
from tuner.db import jobs, tokens, uploads
from tuner.db.engine import read, write
from tuner.errors import NotFound
from tuner.jobs import housekeeping, old_uploads
from tuner.jobs.against import entries
from tuner.tokens import digest
from tuner.uploads import desk
from tuner.uploads.desk import Desk, Sender

TRIALS = {"target": "local", "budget": {"trials": 1}}


@pytest.fixture
def client(settings: Settings, engine: Engine) -> Iterator[TestClient]:
    with talking_to(settings) as client:
        yield client


@pytest.fixture
def others(engine: Engine) -> dict[str, dict[str, str]]:
    """What two people show who may submit."""
    with write(engine) as session:
        for name in ("ann", "bob"):
            tokens.add(session, name, "submit", digest(f"token-of-{name}"))
    return {name: {"Authorization": f"Bearer token-of-{name}"} for name in ("ann", "bob")}


def refusal(answer: httpx.Response) -> dict[str, str]:
    return dict(answer.json()["error"])


def folders(settings: Settings) -> list[str]:
    return sorted(folder.name for folder in settings.uploads_dir.glob("*"))


def test_a_model_that_is_sent_is_a_jobs_by_its_name(client: TestClient, settings: Settings, engine: Engine) -> None:
    upload = sent(client, MODEL).json()
    assert (upload["state"], upload["model"], upload["received_bytes"]) == (
        "complete",
        "upload:mine",
        sum(map(len, MODEL.values())),
    )
    for model in ("upload:mine", f"upload:{upload['id']}"):
        job = client.post("/v1/jobs", json={"model": model, **TRIALS})
        assert job.status_code == 201, job.text
        assert job.json()["model"] == "upload:mine"
    row = fetch_for(engine, settings, job.json()["id"])
    held = {file.name: file.read_bytes() for file in (settings.sources_dir / str(row.snapshot)).iterdir()}
    assert {name: held[name] for name in MODEL} == MODEL


def test_a_graph_that_is_sent_is_a_jobs_rival(client: TestClient, settings: Settings, engine: Engine) -> None:
    assert sent(client, {"model.onnx": b"a graph"}, "rival").status_code == 200
    assert sent(client, MODEL).status_code == 200
    names = ["upload:rival", "onnxruntime-int8"]
    by_id = f"upload:{client.get('/v1/uploads/rival').json()['id']}"
    job = client.post("/v1/jobs", json={"model": "minilm-l6", "against": [by_id, "onnxruntime-int8"]}).json()
    assert job["against"] == names
    found, absent = entries(settings, engine, job["against"])
    assert [(one.name, one.kind, one.optional) for one in found] == [
        ("model.onnx", "onnx-file", True),
        ("onnxruntime-int8", "onnxruntime-int8", True),
    ]
    assert Path(found[0].path).read_bytes() == b"a graph"
    assert absent == {}
    error = client.post("/v1/jobs", json={"model": "minilm-l6", "against": ["upload:mine"]}).json()["error"]
    assert (error["code"], "no .onnx file" in error["message"]) == ("invalid_input", True)
    assert job["id"] in client.delete("/v1/uploads/rival").json()["error"]["message"]
    with write(engine) as session:
        jobs.get(session, job["id"]).state = "failed"
    assert client.delete("/v1/uploads/rival").status_code == 204
    assert entries(settings, engine, names)[1].keys() == {"upload:rival"}


def test_a_model_that_is_added_may_be_an_upload(client: TestClient) -> None:
    sent(client, MODEL)
    model = client.post("/v1/models", json={"name": "upload:mine"}).json()
    assert (model["name"], model["family"], model["weights"]) == ("upload:mine", "bert", "pretrained")
    assert client.post("/v1/jobs", json={"model": model["id"], **TRIALS}).status_code == 201


def test_parts_follow_each_other_and_the_service_says_where_to_go_on(client: TestClient) -> None:
    upload = begun(client, MODEL)
    weights = MODEL["model.safetensors"]
    assert put(client, upload, "model.safetensors", weights[:10]).headers["upload-offset"] == "10"
    for wrong in (0, 5, 11):
        answer = put(client, upload, "model.safetensors", weights[wrong:], wrong)
        assert (answer.status_code, answer.headers["upload-offset"]) == (409, "10")
        assert refusal(answer)["code"] == "offset_mismatch"
    told = client.get(f"/v1/uploads/{upload['id']}").json()
    assert {file["path"]: file["received_bytes"] for file in told["files"]} == {
        "config.json": 0,
        "model.safetensors": 10,
    }
    assert put(client, upload, "model.safetensors", weights[10:], 10).status_code == 204
    answer = client.post(f"/v1/uploads/{upload['id']}/complete")
    assert refusal(answer)["message"].startswith("config.json is not whole: 0 of")
    put(client, upload, "config.json", MODEL["config.json"])
    assert client.post(f"/v1/uploads/{upload['id']}/complete").json()["state"] == "complete"


def test_a_part_says_where_it_begins_in_one_way_only(client: TestClient) -> None:
    upload = begun(client, MODEL)
    url = f"/v1/uploads/{upload['id']}/files/config.json"
    answer = client.put(url, content=b"{}", headers={"Content-Range": "bytes 5-6/7"})
    assert (answer.status_code, refusal(answer)["hint"]) == (422, "Leave out Content-Range.")


def test_content_that_is_another_than_declared_is_refused_and_sent_again(client: TestClient) -> None:
    upload = begun(client, MODEL)
    put(client, upload, "config.json", MODEL["config.json"])
    put(client, upload, "model.safetensors", bytes(len(MODEL["model.safetensors"])))
    answer = client.post(f"/v1/uploads/{upload['id']}/complete")
    assert (answer.status_code, refusal(answer)["code"]) == (422, "upload_invalid")
    assert refusal(answer)["message"].startswith("model.safetensors is not what was declared")
    assert client.post("/v1/jobs", json={"model": "upload:mine", **TRIALS}).status_code == 422
    put(client, upload, "model.safetensors", MODEL["model.safetensors"])
    assert client.post(f"/v1/uploads/{upload['id']}/complete").json()["state"] == "complete"


def test_more_than_declared_is_refused_and_nothing_of_it_kept(client: TestClient, settings: Settings) -> None:
    upload = begun(client, MODEL)
    answer = put(client, upload, "config.json", MODEL["config.json"] + b"x")
    assert "more were sent" in refusal(answer)["message"]
    parts = settings.uploads_dir / upload["id"] / "parts"
    assert (parts / "config.json").stat().st_size <= len(MODEL["config.json"])


def test_a_file_that_was_not_declared_gets_nowhere(client: TestClient, settings: Settings) -> None:
    upload = begun(client, MODEL)
    before = sorted(settings.root.rglob("*"))
    for path in ("vocab.txt", "..%2F..%2Fevil.json", "%2Fetc%2Fevil", "a/../../config.json"):
        assert put(client, upload, path, b"x").status_code in (404, 405)
    assert sorted(settings.root.rglob("*")) == before


@pytest.mark.parametrize("name", ["model.zip", "model.tar", "model.tar.gz"])
def test_an_archive_becomes_a_folder(client: TestClient, settings: Settings, name: str) -> None:
    files = {f"bert/{path}": content for path, content in {**MODEL, "README.md": b"hello"}.items()}
    packed = zipped(files) if name.endswith("zip") else tarred(files, mode="w:gz" if name.endswith("gz") else "w")
    upload = sent(client, {name: packed}).json()
    assert {file["path"]: file["sha256"] for file in upload["files"]} == {
        path: hashlib.sha256(content).hexdigest() for path, content in MODEL.items()
    }
    assert upload["left_out"] == ["README.md"]
    assert not (settings.uploads_dir / upload["id"] / "parts").exists()
    assert client.post("/v1/jobs", json={"model": "upload:mine", **TRIALS}).status_code == 201


def test_an_archive_that_is_none_is_refused_and_can_be_given_up(client: TestClient, settings: Settings) -> None:
    answer = sent(client, {"model.zip": b"no archive at all"})
    assert (answer.status_code, refusal(answer)["code"]) == (422, "upload_invalid")
    assert client.delete("/v1/uploads/mine").status_code == 204
    assert folders(settings) == []


def test_what_is_here_is_not_sent_again(client: TestClient) -> None:
    first = sent(client, MODEL).json()
    again = client.post("/v1/uploads", json=declared(MODEL, "another-name"))
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (200, first["id"], "complete")
    changed = {**MODEL, "config.json": MODEL["config.json"] + b" "}
    upload = begun(client, changed, "changed")
    assert {file["path"]: file["received_bytes"] for file in upload["files"]} == {
        "config.json": 0,
        "model.safetensors": len(MODEL["model.safetensors"]),
    }
    put(client, upload, "config.json", changed["config.json"])
    assert client.post(f"/v1/uploads/{upload['id']}/complete").json()["state"] == "complete"
    client.delete(f"/v1/uploads/{first['id']}")
    assert client.post("/v1/jobs", json={"model": "upload:changed", **TRIALS}).status_code == 201


def test_a_name_is_one_contents(client: TestClient) -> None:
    begun(client, MODEL)
    answer = client.post("/v1/uploads", json=declared({"config.json": b"{}"}))
    assert (answer.status_code, refusal(answer)["code"]) == (409, "conflict")
    assert "tunesmith uploads delete mine" in refusal(answer)["hint"]
    assert refusal(client.post("/v1/uploads", json=declared(MODEL | {"a.json": b""}, "upl-0123456789")))["code"] == (
        "invalid_input"
    )


@pytest.mark.parametrize("path", ["../config.json", "pytorch_model.bin", "model.py", "A/B/c.json"])
def test_a_declaration_of_what_can_not_be_taken_leaves_nothing(
    client: TestClient, settings: Settings, path: str
) -> None:
    answer = client.post("/v1/uploads", json=declared({**MODEL, path: b"x"}))
    assert (answer.status_code, refusal(answer)["code"]) == (422, "upload_invalid")
    assert folders(settings) == []
    assert client.get("/v1/uploads").json()["total"] == 0


def test_pickles_are_taken_where_a_setting_says_so(settings: Settings, engine: Engine) -> None:
    files = {"config.json": MODEL["config.json"], "pytorch_model.bin": b"pickle"}
    with talking_to(settings.model_copy(update={"allow_pickle_uploads": True})) as client:
        assert sent(client, files).json()["state"] == "complete"
        answer = client.post("/v1/jobs", json={"model": "upload:mine", **TRIALS})
        assert "--allow-pickle" in refusal(answer)["hint"]
        assert client.post("/v1/jobs", json={"model": "upload:mine", "allow_pickle": True, **TRIALS}).status_code == 201


def test_sizes_are_bounded_before_anything_is_sent(settings: Settings, engine: Engine) -> None:
    size = sum(map(len, MODEL.values()))
    limits: list[tuple[dict[str, int], int, str]] = [
        ({"max_model_bytes": size - 1}, 422, "model_invalid"),
        ({"max_uploads_bytes": size - 1}, 413, "quota_exceeded"),
        ({"min_free_bytes": 2**62}, 507, "storage_full"),
    ]
    for limit, status, code in limits:
        with talking_to(settings.model_copy(update=limit)) as client:
            answer = client.post("/v1/uploads", json=declared(MODEL))
            assert (answer.status_code, refusal(answer)["code"]) == (status, code)
    assert folders(settings) == []


def test_what_is_on_its_way_counts_as_if_it_were_here(settings: Settings, engine: Engine) -> None:
    size = sum(map(len, MODEL.values()))
    with talking_to(settings.model_copy(update={"max_uploads_bytes": size + 10})) as client:
        upload = begun(client, MODEL)
        more = declared({"vocab.txt": bytes(11)}, "more")
        assert refusal(client.post("/v1/uploads", json=more))["code"] == "quota_exceeded"
        client.delete(f"/v1/uploads/{upload['id']}")
        assert client.post("/v1/uploads", json=more).status_code == 201


def test_of_uploads_there_are_only_so_many_however_small(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "MOST_UPLOADS", 2)
    answers = [client.post("/v1/uploads", json=declared({"vocab.txt": b"a" * size}, f"n{size}")) for size in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 413]
    assert refusal(answers[2])["code"] == "quota_exceeded"


def test_an_archive_may_not_unpack_beyond_the_quota(settings: Settings, engine: Engine) -> None:
    packed = zipped({**MODEL, "vocab.txt": bytes(1_000_000)})
    with talking_to(settings.model_copy(update={"max_uploads_bytes": 500_000})) as client:
        answer = sent(client, {"model.zip": packed})
        assert "unpacks to more" in refusal(answer)["message"]
        (upload,) = client.get("/v1/uploads").json()["items"]
        assert not (settings.uploads_dir / upload["id"] / "files").exists()


def test_a_disk_that_fills_on_the_way_is_told_and_what_came_stays(settings: Settings, engine: Engine) -> None:
    with talking_to(settings) as client:
        upload = begun(client, MODEL)
        put(client, upload, "model.safetensors", MODEL["model.safetensors"][:9])
    with talking_to(settings.model_copy(update={"min_free_bytes": 2**62})) as client:
        answer = put(client, upload, "model.safetensors", MODEL["model.safetensors"][9:], 9)
        assert (answer.status_code, refusal(answer)["code"]) == (507, "storage_full")
        assert client.get(f"/v1/uploads/{upload['id']}").json()["received_bytes"] == 9


def test_one_may_change_ones_own_uploads_and_use_those_of_others(
    client: TestClient, others: dict[str, dict[str, str]]
) -> None:
    client.headers.update(others["ann"])
    upload = begun(client, MODEL)
    assert upload["owner"] == "ann"
    client.headers.update(others["bob"])
    url = f"/v1/uploads/{upload['id']}"
    for answer in (put(client, upload, "config.json", b"{}"), client.post(f"{url}/complete"), client.delete(url)):
        assert (answer.status_code, refusal(answer)["code"]) == (403, "scope_missing")
    client.headers.update(others["ann"])
    for path, content in MODEL.items():
        put(client, upload, path, content)
    assert client.post(f"{url}/complete").status_code == 200
    client.headers.update(others["bob"])
    assert client.post("/v1/jobs", json={"model": "upload:mine", **TRIALS}).status_code == 201


def test_an_upload_is_not_deleted_while_a_job_uses_it(client: TestClient, settings: Settings, engine: Engine) -> None:
    sent(client, MODEL)
    job = client.post("/v1/jobs", json={"model": "upload:mine", **TRIALS}).json()
    answer = client.delete("/v1/uploads/mine")
    assert (answer.status_code, refusal(answer)["code"]) == (409, "conflict")
    assert job["id"] in refusal(answer)["message"]
    with write(engine) as session:
        jobs.get(session, job["id"]).state = "succeeded"
    assert client.delete("/v1/uploads/mine").status_code == 204
    assert folders(settings) == []
    answer = client.post("/v1/jobs", json={"model": "upload:mine", **TRIALS})
    assert (refusal(answer)["code"], refusal(answer)["message"]) == ("model_unknown", "There is no upload mine.")


def test_uploads_go_by_rule_and_none_that_a_job_uses(client: TestClient, settings: Settings, engine: Engine) -> None:
    begun(client, MODEL, "given-up")
    sent(client, {**MODEL, "a.json": b"1"}, "unused")
    sent(client, {**MODEL, "a.json": b"2"}, "used")
    begun(client, {**MODEL, "a.json": b"3"}, "on-its-way")
    client.post("/v1/jobs", json={"model": "upload:used", **TRIALS})
    with write(engine) as session:
        for name, age in (("given-up", timedelta(hours=25)), *((n, timedelta(days=31)) for n in ("unused", "used"))):
            row = uploads.get(session, name)
            row.used_at -= age
            session.add(row)
    told = {one.why.partition(":")[0] for one in housekeeping.survey(settings, engine).going if one.kind == "upload"}
    assert told == {"given-up", "unused"}
    list(housekeeping.clean(settings, engine))
    left = {upload["name"]: upload["id"] for upload in client.get("/v1/uploads").json()["items"]}
    assert set(left) == {"used", "on-its-way"}
    assert folders(settings) == sorted(left.values())


def test_an_upload_that_is_used_just_before_it_would_go_stays(
    client: TestClient, settings: Settings, engine: Engine
) -> None:
    upload = sent(client, MODEL).json()
    with write(engine) as session:
        row = uploads.get(session, "mine")
        row.used_at -= timedelta(days=31)
        session.add(row)
    (going,) = old_uploads.to_go(settings, engine)
    client.post("/v1/jobs", json={"model": "upload:mine", **TRIALS})
    assert not old_uploads.remove(settings, engine, going.name)
    assert folders(settings) == [upload["id"]]


def test_a_folder_without_a_row_goes_if_it_is_ours(client: TestClient, settings: Settings, engine: Engine) -> None:
    upload = begun(client, MODEL)
    strange = settings.uploads_dir / "upl-0123456789"
    strange.mkdir()
    (strange / "mine.txt").write_text("a stranger's")
    with write(engine) as session:
        session.delete(uploads.get(session, upload["id"]))
    assert old_uploads.to_go(settings, engine) == []
    _age(settings.uploads_dir / upload["id"])
    _age(strange)
    list(housekeeping.clean(settings, engine))
    assert folders(settings) == ["upl-0123456789"]


def _age(folder: Path) -> None:
    os.utime(folder, (1.0, 1.0))


def test_what_was_settled_before_a_service_was_killed_is_completed_by_the_next(
    client: TestClient, settings: Settings
) -> None:
    upload: dict[str, Any] = begun(client, MODEL)
    for path, content in MODEL.items():
        put(client, upload, path, content)
    folder = settings.uploads_dir / upload["id"]
    (folder / "parts").rename(folder / "files")
    assert client.get(f"/v1/uploads/{upload['id']}").json()["received_bytes"] == upload["size_bytes"]
    assert client.post(f"/v1/uploads/{upload['id']}/complete").json()["state"] == "complete"
    assert client.post(f"/v1/uploads/{upload['id']}/complete").json()["state"] == "complete"


@pytest.mark.parametrize("files", [MODEL, {"model.tar.gz": tarred(MODEL)}])
def test_one_that_is_given_up_while_it_is_checked_is_not_there(
    settings: Settings, engine: Engine, client: TestClient, files: dict[str, bytes]
) -> None:
    upload = begun(client, files)
    for path, content in files.items():
        assert put(client, upload, path, content).status_code == 204
    mine, sender = Desk(settings, engine), Sender("", "admin")
    given_up: list[None] = []

    def give_up() -> None:
        if not given_up:
            given_up.append(mine.delete(sender, upload["id"]))

    with pytest.raises(NotFound, match=upload["id"]):
        mine.complete(sender, upload["id"], give_up)
    assert folders(settings) == []


def test_a_service_killed_amid_a_part_goes_on_where_its_file_ends(settings: Settings, engine: Engine) -> None:
    weights = bytes(range(256)) * 20_000
    files = {"config.json": MODEL["config.json"], "model.safetensors": weights}
    with serve_process(settings) as web, _talking(web) as client:
        upload = begun(client, files)
        place = settings.uploads_dir / upload["id"] / "parts" / "model.safetensors"

        def body() -> Iterator[bytes]:
            yield weights[:3_000_000]
            while place.stat().st_size < 1_000_000:  # the service has begun to write
                yield b""
            web.process.kill()
            web.process.wait()
            yield weights[3_000_000:]

        with pytest.raises(httpx.TransportError):
            client.put(f"/v1/uploads/{upload['id']}/files/model.safetensors", content=body())
    with serve_process(settings) as web, _talking(web) as client:
        told = {file["path"]: file for file in client.get(f"/v1/uploads/{upload['id']}").json()["files"]}
        offset = told["model.safetensors"]["received_bytes"]
        assert 1_000_000 <= offset <= 3_000_000
        assert place.read_bytes() == weights[:offset]
        again = client.post("/v1/uploads", json=declared(files))
        assert (again.status_code, again.json()["id"]) == (200, upload["id"])
        assert put(client, upload, "model.safetensors", weights[offset:], offset).status_code == 204
        assert put(client, upload, "config.json", files["config.json"]).status_code == 204
        assert client.post(f"/v1/uploads/{upload['id']}/complete").json()["state"] == "complete"
    with read(engine) as session:
        assert uploads.get(session, "mine").state == "complete"


def _talking(web: WebProcess) -> httpx.Client:
    return httpx.Client(base_url=web.url, headers=web.headers, timeout=60)
