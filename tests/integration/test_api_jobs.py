from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from tests.support import seed_db
from tests.support.coordination import Bench
from tests.support.rows import add_job, make_record, make_workload
from tests.support.submitting import fetch_for
from tuner.cli import tables, words
from tuner.config import Settings
from tuner.db import events, jobs, records
from tuner.db.engine import write
from tuner.db.models import Benchmark, Device, JobWorkload
from tuner.schemas import JobOut


def test_a_job_is_submitted_and_read_back(client: TestClient) -> None:
    answer = client.post("/v1/jobs", json={"model": "minilm-l6", "target": "local", "budget": {"trials": 64}})
    job = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert re.fullmatch(r"job-[0-9a-f]{10}", job["id"])
    assert (job["state"], job["progress"], job["error"], job["artifact_id"], job["latency_ms"]) == (
        "submitted", 0.0, None, None, None,
    )  # fmt: skip
    assert job["budget"] == {"trials": 64, "seconds": None}
    assert client.get(f"/v1/jobs/{job['id']}").json() == job


def test_a_job_that_only_compiles_is_submitted_for_a_machine_that_is_not_there(client: TestClient) -> None:
    body = {"model": "minilm-l6", "target": "m1-metal", "compile_only": True}
    job = client.post("/v1/jobs", json=body).json()
    assert (job["compile_only"], job["target"], job["budget"]) == (True, "m1-metal", {"trials": 0, "seconds": None})
    error = client.post(f"/v1/jobs/{job['id']}/pause").json()["error"]
    assert (error["code"], "only compiles" in error["message"]) == ("conflict", True)


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"model": "bert-base-uncasde"}, "model_unknown", "bert-base-uncasde"),
        ({"model": "minilm-l6", "target": "lokal"}, "target_unknown", "lokal"),
        ({"model": "minilm-l6", "target": '{"kind": "llvm", "mcpu": "znver99"}'}, "target_unknown", "znver99"),
        (
            {
                "model": "minilm-l6",
                "target": '{"kind": "metal", "host": {"kind": "llvm", "mtriple": "x86_64-linux-gnu"}}',
            },
            "target_unknown",
            "Apple hosts only",
        ),
        ({"model": "minilm-l6", "budget": {"trials": 0}}, "budget_invalid", "0 trials"),
        ({"model": "minilm-l6", "budget": {"trials": -1}}, "budget_invalid", "-1 trials"),
        ({"model": "minilm-l6", "budget": {"minutes": 1e12}}, "budget_invalid", "minutes"),
        ({"model": "minilm-l6", "compile_only": True, "budget": {"trials": 8}}, "budget_invalid", "does not tune"),
        ({"model": "minilm-l6", "seq_len": 513}, "sequence_too_long", "513"),
        ({"model": "minilm-l6", "seq_len": 0}, "invalid_input", "seq_len"),
        ({"model": "minilm-l6", "against": ["tensorrt"]}, "invalid_input", "tensorrt"),
        ({"model": "minilm-l6", "against": ["/no/such.onnx"]}, "invalid_input", "/no/such.onnx"),
        (
            {"model": "minilm-l6", "against": ["torch"], "compile_only": True},
            "invalid_input",
            "times nothing",
        ),
        ({"model": "minilm-l6", "against": ["/a\0b.onnx"]}, "invalid_input", "no file"),
        ({"model": "minilm-l6", "against": ["upload:nothing"]}, "model_unknown", "nothing"),
        ({"model": "minilm-l6", "against": "torch"}, "invalid_input", "against"),
        ({"model": "op:gemm:8,8,8", "against": ["torch"]}, "invalid_input", "operator"),
        ({"model": "minilm-l6", "budget": {"trials": "many"}}, "invalid_input", "budget.trials"),
        ({"model": "minilm-l6", "budget": {"preset": "huge"}}, "invalid_input", "budget.preset"),
        ({"model": "minilm-l6", "sequence": 1}, "invalid_input", "sequence"),
        ({}, "invalid_input", "model"),
    ],
)
def test_a_bad_request_is_refused_with_code_reason_and_hint(
    client: TestClient, body: dict[str, object], code: str, says: str
) -> None:
    answer = client.post("/v1/jobs", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, code)
    assert says in error["message"]
    assert error["hint"]
    assert client.get("/v1/jobs").json()["total"] == 0


def test_rivals_are_kept_in_the_job_as_they_were_named(client: TestClient, tmp_path: Path) -> None:
    (mine := tmp_path / "mine.onnx").write_bytes(b"a graph")
    rivals = ["torch", "onnxruntime-int8", str(mine)]
    job = client.post("/v1/jobs", json={"model": "minilm-l6", "against": rivals}).json()
    assert (job["against"], job["absent"]) == (rivals, {})
    assert client.get(f"/v1/jobs/{job['id']}").json()["against"] == rivals
    assert client.post("/v1/jobs", json={"model": "minilm-l6"}).json()["against"] == []


def test_a_folder_that_is_no_model_is_refused(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    error = client.post("/v1/jobs", json={"model": str(tmp_path)}).json()["error"]
    assert error["code"] == "model_invalid"
    assert str(tmp_path) in error["message"]


@pytest.mark.parametrize("text", ['{"model": "minilm-l6", "budget": {"minutes": NaN}}', '{"model":', "", "[]"])
def test_a_body_that_is_no_proper_json_is_refused(client: TestClient, text: str) -> None:
    answer = client.post("/v1/jobs", content=text, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] in ("invalid_input", "budget_invalid")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs/job-none"),
        ("DELETE", "/v1/jobs/job-none"),
        ("POST", "/v1/jobs/job-none/cancel"),
        ("POST", "/v1/jobs/job-none/pause"),
        ("POST", "/v1/jobs/job-none/resume"),
        ("GET", "/v1/jobs/job-none/workloads"),
        ("GET", "/v1/jobs/job-none/curve"),
    ],
)
def test_an_unknown_job_is_named(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 404
    assert "job-none" in answer.json()["error"]["message"]


def test_jobs_are_listed_newest_first_with_filters_and_pages(client: TestClient, engine: Engine) -> None:
    with write(engine) as session:
        old = add_job(session, "failed")
        middle = add_job(session, "tuning", "bert-base-uncased")
        new = add_job(session, "succeeded", target="other")
    ids = {"old": old.id, "middle": middle.id, "new": new.id}

    def listed(**query: object) -> list[str]:
        items = client.get("/v1/jobs", params=query).json()["items"]
        return [name for item in items for name, job_id in ids.items() if job_id == item["id"]]

    assert listed() == ["new", "middle", "old"]
    assert listed(state=["failed", "tuning"]) == ["middle", "old"]
    assert listed(model="minilm-l6") == ["new", "old"]
    assert listed(model=middle.model_id) == ["middle"]
    assert listed(target="other") == ["new"]
    assert listed(limit=1, offset=1) == ["middle"]
    assert client.get("/v1/jobs", params={"limit": 1}).json()["total"] == 3
    for wrong in ({"state": "asleep"}, {"limit": 0}, {"offset": -1}, {"offset": 100_001}, {"cursor": "nonsense"}):
        assert client.get("/v1/jobs", params=wrong).status_code == 422


@pytest.mark.parametrize("path", ["jobs", "records", "artifacts", "benchmarks", "models"])
def test_a_list_is_read_on_by_the_cursor_of_each_page(client: TestClient, engine: Engine, path: str) -> None:
    with write(engine) as session:
        seed_db.everything(session)

    def listed(**query: object) -> dict[str, Any]:
        answer = client.get(f"/v1/{path}", params=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    whole = listed(limit=1000)
    page = listed(limit=2)
    items = page["items"]
    while page["cursor"]:
        page = listed(limit=2, cursor=page["cursor"])
        items += page["items"]
    assert (items, whole["cursor"]) == (whole["items"], None)
    both = client.get(f"/v1/{path}", params={"cursor": "W10=", "offset": 1})
    assert (both.status_code, both.json()["error"]["code"]) == (422, "invalid_input")


def test_a_job_is_paused_resumed_cancelled_and_deleted(client: TestClient, engine: Engine) -> None:
    with write(engine) as session:
        job = add_job(session, "tuning")
    path = f"/v1/jobs/{job.id}"
    assert client.post(f"{path}/pause").json()["wish"] == "pause"
    assert client.post(f"{path}/resume").json()["wish"] == ""
    assert client.post(f"{path}/cancel").json()["wish"] == "cancel"
    refused = client.delete(path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    with write(engine) as session:
        job.state = "cancelled"
        session.add(job)
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


def test_a_job_shows_its_workloads_curve_and_benchmarks(client: TestClient, engine: Engine) -> None:
    with write(engine) as session:
        job = add_job(session, "succeeded", latency_ms=50.0)
        records.put_workload(session, make_workload(flops=1e9))
        session.add(JobWorkload(job_id=job.id, workload_id=make_workload().id, weight=12, best_us=500.0))
        events.emit(session, "round", {"t_sec": 2.0, "trials": 16, "predicted_ms": 61.5}, job.id)
        for variant, median_ms in (("torch-sdpa", 134.0), ("tuned", 50.0)):
            session.add(
                Benchmark(
                    job_id=job.id, variant=variant, median_ms=median_ms, p10_ms=1, p90_ms=2, n=9, threads=2, machine="m"
                )
            )
    (workload,) = client.get(f"/v1/jobs/{job.id}/workloads").json()
    assert (workload["gflops"], workload["share"], workload["weight"]) == (2000.0, 1.0, 12)
    assert client.get(f"/v1/jobs/{job.id}/curve").json() == [{"t_sec": 2.0, "trials": 16, "predicted_ms": 61.5}]
    listed = client.get("/v1/benchmarks", params={"job_id": job.id}).json()["items"]
    assert [row["variant"] for row in listed] == ["tuned", "torch-sdpa"]
    assert client.get(f"/v1/jobs/{job.id}").json()["speedup"] == 2.68


def test_models_are_added_and_listed(client: TestClient) -> None:
    added = client.post("/v1/models", json={"name": "distilbert-base-uncased"})
    assert added.status_code == 201
    again = client.post("/v1/models", json={"name": "distilbert-base-uncased"}).json()
    assert again["id"] == added.json()["id"]
    assert client.get("/v1/models").json()["items"] == [again]
    assert client.get(f"/v1/models/{again['id']}").json()["max_seq_len"] == 512
    assert client.get("/v1/models/mdl-none").status_code == 404
    assert client.post("/v1/models", json={"name": "distilbirt"}).json()["error"]["code"] == "model_unknown"


def test_a_job_without_a_device_waits_in_sight_wherever_one_looks(
    client: TestClient, engine: Engine, settings: Settings
) -> None:
    bench = Bench(settings, engine)
    job_id = client.post("/v1/jobs", json={"model": "minilm-l6", "target": "m1-metal"}).json()["id"]
    fetch_for(engine, settings, job_id)
    bench.run_until(lambda: bench.job(job_id).message.startswith("waiting for a device"))
    said = "waiting for a device of m1-metal; start one with: tunesmith agent --tracker HOST:PORT --key m1-metal"
    assert not bench.cluster.running
    shown = client.get(f"/v1/jobs/{job_id}").json()
    assert (shown["state"], shown["message"]) == ("extracting", said)
    for page in ("/", f"/jobs/{job_id}"):
        assert said in client.get(page).text
    job = JobOut.model_validate(shown)
    assert said in printed(tables.job_table(job))
    assert "extracting (waiting)" in printed(tables.jobs_table([job], 200))
    assert said in words.state_line(job)


def printed(table: Table) -> str:
    console = Console(width=250, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


APPLE_GPU = {"max_threads": 1024, "memory_bytes": 32768, "simd_width": 32}


@pytest.mark.parametrize(
    ("name", "triple", "suffix", "cores", "peak", "threadgroup"),
    [
        ("local", "x86_64-unknown-linux-gnu", ".so", 2, (530.0, 42.0, "measured"), None),
        ("m1-cpu", "arm64-apple-macos", ".dylib", 4, (409.6, 68.3, "computed"), None),
        ("m1-metal", "arm64-apple-macos", ".dylib", 4, (2617.3, 68.3, "computed"), APPLE_GPU),
        (
            "m1-metal-restricted",
            "arm64-apple-macos",
            ".dylib",
            4,
            (2617.3, 68.3, "computed"),
            APPLE_GPU | {"max_threads": 256},
        ),
        ("m2-cpu", "arm64-apple-macos", ".dylib", 4, (448.0, 102.4, "computed"), None),
        ("m2-metal", "arm64-apple-macos", ".dylib", 4, (3578.9, 102.4, "computed"), APPLE_GPU),
        ("m3-pro-cpu", "arm64-apple-macos", ".dylib", 5, (648.0, 153.6, "computed"), None),
        ("m4-metal", "arm64-apple-macos", ".dylib", 4, (None, None, None), APPLE_GPU),
        ("linux-arm64", "aarch64-linux-gnu", ".so", 4, (None, None, None), None),
    ],
)
def test_a_target_says_all_there_is_to_know_of_it(
    client: TestClient,
    engine: Engine,
    name: str,
    triple: str,
    suffix: str,
    cores: int,
    peak: tuple[float, float, str],
    threadgroup: dict[str, int] | None,
) -> None:
    facts = {"mtriple": "x86_64-unknown-linux-gnu", "mcpu": "znver5", "threads": 2}
    with write(engine) as session:
        session.add(Device(key="local", facts=facts | {"peak": {"gflops": 530.0, "gb_per_sec": 42.0}}))
        session.add(Device(key="m1-metal", state="busy"))
        session.add(Device(key="m2-cpu", state="incompatible"))
        session.add(Device(key="m3-pro-cpu", state="offline", facts={"threads": 5}))
    found = {target["name"]: target for target in client.get("/v1/targets").json()}[name]
    assert (found["host_triple"], found["suffix"], found["cores"]) == (triple, suffix, cores)
    assert (found["peak_gflops"], found["bandwidth_gb_per_sec"], found["peak_source"]) == peak
    assert found["threadgroup"] == threadgroup
    by_unit = {"m1-cpu": 1638.4, "m2-cpu": 1792.0, "m3-pro-cpu": 2073.6}
    assert found["peak_by_unit"] == ({"AMX": by_unit[name]} if name in by_unit else {})
    assert found["tvm"]["kind"] == ("metal" if threadgroup else "llvm")
    assert found["device_online"] == (found["device_key"] in ("local", "m1-metal"))


def test_the_local_target_and_devices_are_listed(client: TestClient, engine: Engine) -> None:
    facts = {"mtriple": "x86_64-unknown-linux-gnu", "mcpu": "znver5", "threads": 2}
    with write(engine) as session:
        session.add(Device(key="local", facts=facts))
    target = client.get("/v1/targets").json()[0]
    assert (target["name"], target["tvm"]["mcpu"]) == ("local", "znver5")
    (device,) = client.get("/v1/devices").json()
    assert (device["key"], device["facts"]) == ("local", facts)


def test_a_full_disk_is_not_ready(client: TestClient) -> None:
    client.app.state.settings.min_free_bytes = 2**62  # type: ignore[attr-defined]
    assert "free" in client.get("/readyz").json()["checks"]["disk"]


def test_a_browser_at_a_wrong_address_gets_a_page(client: TestClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    lost = client.get("/nothing", headers=browser)
    assert (lost.status_code, lost.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no page /nothing." in lost.text
    assert client.get("/v1/nothing", headers=browser).json()["error"]["code"] == "not_found"


def test_every_error_has_one_shape(client: TestClient) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("PUT", "/v1/jobs", 405), ("GET", "/v1/nothing", 404)):
        answer = client.request(method, path, headers={"accept": "application/json"})
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"code", "message", "hint"}


def test_a_bug_is_an_error_of_the_same_shape(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(jobs, "find", broken)
    answer = client.get("/v1/jobs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")


def test_the_openapi_document_knows_all_routes_and_the_error_shape(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert {path for path in document["paths"] if not path.startswith("/v1/")} == {
        "/agent/",
        "/agent/{name}",
        "/healthz",
        "/readyz",
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            schema = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorOut"}, (method, path)


def test_records_stay_when_their_job_goes(client: TestClient, engine: Engine) -> None:
    with write(engine) as session:
        job = add_job(session, "failed")
        records.put_workload(session, make_workload())
        records.add(session, make_record("a", 1e-3, job_id=job.id))
    client.delete(f"/v1/jobs/{job.id}")
    (record,) = client.get("/v1/records").json()["items"]
    assert (record["mean_us"], record["job_id"]) == (1000.0, None)
