"""Jobs of every kind on a real service: texts, records and files of others, a network of one's own, any precision."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.job_watch import SEQ_LEN, TRIALS, JobWatch, secluded, submit
from tests.support.processes import ROOT, patience
from tests.support.service import COMMAND, ONE_THREAD, SMALL_ROUNDS, Service
from tests.support.tiny_imports import local_target
from tests.support.tiny_models import CONFIGS, write_model
from tests.support.uploading import begun, put
from tuner.importers.programs.loading import save_module
from tuner.kernels.context import make_target
from tuner.kernels.precision import available

pytestmark = pytest.mark.timeout(1800)  # each runs a job of a service to its end


@pytest.fixture(scope="module")
def service_env() -> dict[str, str]:
    return SMALL_ROUNDS | ONE_THREAD


def check_rivals(service: Service, job: dict[str, Any]) -> None:
    """Each contestant says what it costs, and one that can't take part ends nothing."""
    rows = {row["variant"]: row for row in service.ask("GET", f"/v1/benchmarks?job_id={job['id']}").json()["items"]}
    assert rows.keys() == {"tuned", "untuned", "torch-eager", "torch-sdpa", "onnxruntime"}
    costs = ("load_ms", "first_ms", "after_idle_ms", "memory_bytes", "mean_ms")
    assert all(row[name] > 0 for row in rows.values() for name in costs)
    assert max(row["max_abs_error"] for row in rows.values()) < 1e-3
    assert job["absent"].keys() == {"broken.onnx"}


def test_a_job_for_texts_ends_with_an_artifact_that_takes_them_as_they_are(
    service: Service, model: Path, tmp_path: Path
) -> None:
    (broken := tmp_path / "broken.onnx").write_bytes(b"no graph")
    rivals = ["onnxruntime", str(broken)]
    watch = submit(service, model, lengths="2:14", budget={"trials": TRIALS}, against=rivals)
    watch.wait_for("succeeded")
    job = watch.ask()
    watch.close()
    check_rivals(service, job)
    assert job["lengths"] == [2, 8, 14]
    assert job["predicted_ms"] > 0
    assert job["latency_ms"] > 0
    tar = tmp_path / "texts.tar"
    tar.write_bytes(service.ask("GET", f"/v1/artifacts/{job['artifact_id']}/download").content)
    with tarfile.open(tar) as members:
        members.extractall(tmp_path, filter="data")
    call = "load('texts.tar').run(input_ids=[[5, 6], [7] * 9])['last_hidden_state']"
    without_torch = "import sys; sys.modules['torch'] = None"  # TVM would load it
    script = f"{without_torch}; from loader import load; print([rows.shape for rows in {call}])"
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=patience(60)
    )
    assert answer.returncode == 0, answer.stderr
    hidden = json.loads((tmp_path / "manifest.json").read_text())["outputs"][0]["shape"][1]
    assert answer.stdout.strip() == f"[(2, {hidden}), (9, {hidden})]"


def test_a_job_with_records_of_others_is_tuned_in_processes_of_its_own(service: Service) -> None:
    operator = {"model": "op:gemm:16,32,48", "seq_len": 1, "budget": {"trials": TRIALS}}
    theirs = submit(service, **operator)
    theirs.wait_for("succeeded")
    of_job = {"job_id": theirs.id}
    log = service.ask("GET", "/v1/records/export", params=of_job).content
    assert service.ask("DELETE", "/v1/records", params=of_job).is_success
    brought = service.ask("POST", "/v1/records/import", content=log).json()
    assert brought["imported"] > 0
    watch = submit(service, **operator)
    watch.wait_for("succeeded")
    told = (service.data_dir / "run" / "logs" / "engine.log").read_text()
    apart = set(re.findall(rf"tuner.jobs.secluded_worker: (\w+) of {watch.id}$", told, re.MULTILINE))
    assert {"tune_round", "compile_module"} <= apart
    assert secluded(service) == []
    found = watch.records()
    assert {record.source for record in found if record.job_id == watch.id} == {"measured"}
    workloads = {record.workload_id for record in found if record.job_id == watch.id}
    others = [record for record in found if record.workload_id in workloads and record.source == "imported"]
    assert len(others) == brought["imported"]
    assert watch.ask()["latency_ms"] > 0
    watch.check_books()
    for one in (theirs, watch):
        one.close()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_a_folder_that_the_service_can_not_see_is_sent_from_where_it_broke_off_and_tuned(
    service: Service, model: Path, tmp_path: Path
) -> None:
    """The first half of the weights comes over REST, the rest by a command that sees files of its own."""
    folder = tmp_path / "mine"
    shutil.copytree(model, folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    weights = files["model.safetensors"]
    half = len(weights) // 2
    with httpx.Client(base_url=service.url, headers=service.headers, timeout=patience(60)) as client:
        upload = begun(client, files)
        assert put(client, upload, "model.safetensors", weights[:half]).status_code == 204
        assert client.post(f"/v1/uploads/{upload['id']}/complete").json()["error"]["code"] == "upload_invalid"
    argv = ["unshare", "--mount", *COMMAND, "tune", "./mine", "--seq-len", str(SEQ_LEN), "--trials", str(TRIALS)]
    environment = os.environ | {"TUNER_DATA_DIR": str(service.data_dir), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*argv, "--follow", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    sent = service.ask("GET", f"/v1/uploads/{upload['id']}").json()
    assert (sent["state"], job["model"], job["state"]) == ("complete", sent["model"], "succeeded")
    assert {file["path"] for file in sent["files"]} == set(files)
    assert service.ask("POST", f"/v1/artifacts/{job['artifact_id']}/verify").json()["ok"]


def check_terms(service: Service, watch: JobWatch, terms: dict[str, Any]) -> None:
    """Only the kernels that were named were tuned, all were compiled, and times were taken as was asked for."""
    told: Any = watch.ask("/workloads")
    trials = {one["name"]: one["trials"] for one in told}
    assert all((count > 0) == name.startswith("matmul") for name, count in trials.items()), trials
    assert {one["left_out"] for one in told} == {True, False}
    assert all(one["chosen"] for one in told)
    mine = [record for record in watch.records() if record.job_id == watch.id]
    assert {record.evaluator["repeat"] for record in mine} == {3}
    assert max(len(record.run_secs) for record in mine) == 3
    assert watch.ask("/evidence")["terms"] == terms
    rows = service.ask("GET", "/v1/benchmarks", params={"job_id": watch.id}).json()["items"]
    assert next(len(row["rounds_ms"]) for row in rows if row["variant"] == "tuned") == 7


def test_a_network_of_ones_own_is_tuned_verified_and_compared(service: Service, tmp_path: Path) -> None:
    from torch import nn, ones

    layers = (nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.SiLU(), nn.Flatten(), nn.Linear(72, 10), nn.ReLU())
    network = nn.Sequential(*layers, nn.Linear(10, 10), nn.ReLU())
    file = save_module(network, [ones(2, 3, 8, 8)], tmp_path / "network.pt2")
    terms = {"only": ["matmul*"], "skip": [], "repeat": 3, "min_repeat_ms": 4, "rounds": 7}
    terms |= {"strategy": "random", "timeout_sec": 40}
    watch = submit(service, file, budget={"trials": TRIALS}, **terms)
    watch.wait_for("succeeded")
    job = watch.ask()
    check_terms(service, watch, terms)
    watch.close()
    manifest = service.ask("GET", f"/v1/artifacts/{job['artifact_id']}").json()["manifest"]
    assert manifest["verification"]["against"] == "PyTorch, float32"
    assert manifest["verification"]["max_abs_error"] < 1e-4
    assert [(one["shape"], one["dtype"]) for one in manifest["inputs"]] == [([2, 3, 8, 8], "float32")]
    rows = service.ask("GET", "/v1/benchmarks", params={"job_id": job["id"]}).json()["items"]
    assert {row["variant"] for row in rows} == {"torch-eager", "untuned", "tuned"}


def test_the_fastest_precision_near_enough_is_found_and_all_are_compared(service: Service, tmp_path: Path) -> None:
    wide = CONFIGS["bert"] | {"hidden_size": 64, "intermediate_size": 128}
    texts = ["the old river was small", "morning light on the water"]
    watch = submit(
        service,
        write_model(tmp_path / "wide", wide),
        precision="fastest",
        max_drop=0.2,
        judged_on=texts,
        budget={"trials": TRIALS},
    )
    ended = watch.wait_for("succeeded", "failed", timeout_sec=600.0)
    assert ended.state == "succeeded", ended.error
    job = watch.ask()
    manifest = service.ask("GET", f"/v1/artifacts/{job['artifact_id']}").json()["manifest"]
    tried = available(make_target(local_target()))
    timed = {row["variant"] for row in service.ask("GET", f"/v1/benchmarks?job_id={job['id']}").json()["items"]}
    others = {f"tuned-{precision}" for precision in tried if precision != manifest["precision"]}
    assert timed == {"torch-eager", "torch-sdpa", "untuned", "tuned"} | others
    if len(tried) > 1:
        found = manifest["precisions"]
        assert found.keys() == set(tried)
        assert min(found, key=lambda one: found[one]["median_ms"]) == manifest["precision"]
        assert {one["fidelity"]["own_texts"] for name, one in found.items() if name != "fp32"} == {len(texts)}
