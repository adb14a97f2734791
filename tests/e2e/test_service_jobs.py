"""A job of a tiny model on a real service, from the wish to the artifact; then every part is killed while it tunes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.job_watch import JobWatch, engine_worker, mapped_libraries, secluded
from tests.support.processes import ROOT, free_port, kill_hard, wait_until
from tests.support.service import Service, serving
from tests.support.tiny_imports import local_target
from tests.support.tiny_models import CONFIGS, write_model
from tests.support.uploading import begun, put
from tuner.client.events import ServerEvent, parse_events
from tuner.importers.programs.loading import save_module
from tuner.kernels.context import make_target
from tuner.kernels.precision import available

SEQ_LEN, TRIALS = 16, 8
COMMAND = [sys.executable, "-m", "tuner.cli.main"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny", "distilbert")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module", autouse=True)
def small_rounds() -> Iterator[None]:
    """Whoever kills something waits for whole rounds before and after."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNER_ROUND_BATCH", "8")
        patch.setenv("TUNER_BUILD_WORKERS", "1")
        yield


@pytest.fixture(scope="module")
def service(data_dir: Path, small_rounds: None) -> Iterator[Service]:
    with serving(data_dir, "--port", str(free_port())) as started:
        yield started


def submit(service: Service, model: Path | str, **wish: Any) -> JobWatch:
    shape = {} if "lengths" in wish else {"seq_len": SEQ_LEN}
    body = {"model": str(model), "target": "local", **shape, **wish}
    answer = service.ask("POST", "/v1/jobs", json=body)
    assert answer.status_code == 201, answer.text
    return JobWatch(service, answer.json()["id"])


@dataclass
class Observed:
    """What could be seen of a job while it ran."""

    job: dict[str, Any]
    events: list[ServerEvent] = field(default_factory=list)
    answer_ms: list[float] = field(default_factory=list)
    answer_at_rest_ms: list[float] = field(default_factory=list)
    mapped: dict[str, set[str]] = field(default_factory=dict)


def listen(service: Service, job_id: str, last_event_id: str | None = None) -> list[ServerEvent]:
    """The job's events until its end, over SSE."""
    headers = service.headers | ({} if last_event_id is None else {"Last-Event-ID": last_event_id})
    found = []
    with httpx.stream(
        "GET", f"{service.url}/v1/events", params={"job_id": job_id}, headers=headers, timeout=60
    ) as stream:
        for event in parse_events(stream.iter_lines()):
            if event.id:
                found.append(event)
            if event.kind == "state" and event.data["data"]["state"] in ("succeeded", "failed", "cancelled"):
                break
    return found


@contextmanager
def answering(service: Service) -> Iterator[Callable[[], list[float]]]:
    """Milliseconds that the web process takes for an answer, looked at a few times whenever asked."""
    with httpx.Client(base_url=service.url, headers=service.headers, timeout=10) as client:

        def time_answers() -> list[float]:
            found = []
            for path in ("/healthz", "/v1/jobs"):
                start = time.perf_counter()
                assert client.get(path).is_success
                found.append((time.perf_counter() - start) * 1e3)
            time.sleep(0.05)
            return found

        yield time_answers


@pytest.fixture(scope="module")
def finished(service: Service, model: Path) -> Observed:
    """The first job of the service, at its end. Its model's folder is elsewhere from when it tunes on."""
    seen = Observed({})
    with answering(service) as time_answers:
        while len(seen.answer_at_rest_ms) < 40:
            seen.answer_at_rest_ms += time_answers()
    watch = submit(service, model, budget={"trials": TRIALS})
    listener = threading.Thread(target=lambda: seen.events.extend(listen(service, watch.id)))
    listener.start()
    watch.wait_for("tuning")
    moved = model.rename(model.with_name("moved"))
    with answering(service) as time_answers:
        while watch.row.state == "tuning":
            seen.answer_ms += time_answers()
    seen.mapped = {name: mapped_libraries(service.pid(name)) for name in ("web", "coordinator")}
    watch.wait_for("succeeded")
    moved.rename(model)
    seen.job = watch.ask()
    listener.join(timeout=30)
    assert not listener.is_alive(), "the event stream did not tell the end"
    watch.check_books()
    watch.close()
    return seen


def test_job_ends_with_an_artifact_and_a_latency(finished: Observed) -> None:
    job = finished.job
    assert (job["state"], job["progress"], job["error"]) == ("succeeded", 1.0, None)
    assert job["trials"] == TRIALS
    assert job["artifact_id"].startswith("art-")
    assert job["latency_ms"] > 0
    assert job["predicted_ms"] > 0
    assert job["weights"] == "pretrained"


def test_a_job_is_timed_beside_pytorch_though_its_folder_was_moved(service: Service, finished: Observed) -> None:
    found = service.ask("GET", f"/v1/jobs/{finished.job['id']}/evidence").json()
    assert finished.job["state"] == "succeeded"
    assert "torch-eager" in found["baselines"]


def test_states_come_in_order_over_the_event_stream(finished: Observed) -> None:
    states = [event.data["data"]["state"] for event in finished.events if event.kind == "state"]
    assert states == [
        "submitted", "importing", "extracting", "tuning", "compiling", "verifying", "benchmarking", "succeeded",
    ]  # fmt: skip


def test_round_events_add_up_to_the_trials(finished: Observed) -> None:
    rounds = [event.data["data"] for event in finished.events if event.kind == "round"]
    assert sum(data["measured"] for data in rounds) == finished.job["trials"]
    assert [data["trials"] for data in rounds] == sorted(data["trials"] for data in rounds)
    ids = [int(event.id) for event in finished.events]
    assert ids == sorted(set(ids))


def test_event_stream_goes_on_after_the_last_event_id(service: Service, finished: Observed) -> None:
    middle = len(finished.events) // 2
    again = listen(service, finished.job["id"], finished.events[middle].id)
    assert [event.id for event in again] == [event.id for event in finished.events[middle + 1 :]]


def test_web_answers_while_the_service_tunes_about_as_soon_as_at_rest(finished: Observed) -> None:
    """Waiting for one turn of a busy core is no more than that; waiting for a build or a measurement would be."""
    assert len(finished.answer_ms) > 20
    assert np.median(finished.answer_ms) < 10 * np.median(finished.answer_at_rest_ms), sorted(finished.answer_ms)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc here")
def test_web_and_coordinator_never_map_tvm_or_torch(finished: Observed) -> None:
    for name, libraries in finished.mapped.items():
        assert libraries, name
        heavy = [library for library in libraries if re.match(r"lib(tvm|torch|c10)", library)]
        assert not heavy, (name, heavy)


def test_benchmarks_compare_with_pytorch(service: Service, finished: Observed) -> None:
    answer = service.ask("GET", "/v1/benchmarks", params={"job_id": finished.job["id"]}).json()
    rows = {row["variant"]: row for row in answer["items"]}
    assert set(rows) == {"torch-eager", "torch-sdpa", "untuned", "tuned"}
    assert all(0 < row["p10_ms"] <= row["median_ms"] <= row["p90_ms"] and row["n"] >= 20 for row in rows.values())
    assert all(row["mean_ms"] > 0 and row["std_ms"] >= 0 for row in rows.values())
    assert rows["tuned"]["median_ms"] == finished.job["latency_ms"]


@pytest.fixture(scope="module")
def artifact(service: Service, finished: Observed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The downloaded tar."""
    path = tmp_path_factory.mktemp("download") / "model.tar"
    answer = service.ask("GET", f"/v1/artifacts/{finished.job['artifact_id']}/download")
    assert answer.is_success
    path.write_bytes(answer.content)
    return path


def test_artifact_is_what_its_manifest_says(service: Service, finished: Observed, artifact: Path) -> None:
    base = f"/v1/artifacts/{finished.job['artifact_id']}"
    assert service.ask("POST", f"{base}/verify").json()["ok"]
    shown = service.ask("GET", base).json()
    manifest = shown["manifest"]
    assert artifact.stat().st_size == shown["size_bytes"]
    assert manifest["verification"]["max_abs_error"] < 1e-4
    assert 0 <= manifest["coverage"] <= 1
    assert manifest["latency"]["median_ms"] == finished.job["latency_ms"]
    module = {"lib.so", "source.ll", "params.safetensors", "loader.py", "records.jsonl"}
    assert set(manifest["files"]) == module | {"tokenizer.json", "tokenizer_config.json", "vocab.txt"}


def test_run_command_times_the_artifact(artifact: Path) -> None:
    argv = [*COMMAND, "run", str(artifact), "--runs", "5", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["latency"]["median_ms"] > 0
    assert answer["outputs"]["last_hidden_state"]["shape"] == [1, SEQ_LEN, 32]


def what_pip_installs(*packages: str) -> set[str]:
    """The distributions that these packages need, themselves included; extras aside."""
    found: set[str] = set()
    todo = list(packages)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name not in found:
            found.add(name)
            wanted = [need for need in metadata.requires(name) or [] if "extra ==" not in need]
            todo += [re.split(r"[^\w.-]", need)[0] for need in wanted]
    return found


def test_loader_needs_tvm_and_numpy_only(artifact: Path, tmp_path: Path) -> None:
    """In an environment that holds nothing but these two and what they need."""
    site = tmp_path / "site"
    site.mkdir()
    for name in what_pip_installs("apache-tvm", "numpy"):
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    unpacked = tmp_path / "artifact"
    subprocess.run([sys.executable, "-m", "tarfile", "-e", str(artifact), str(unpacked)], check=True)
    environment = {"PYTHONPATH": str(site), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    python = [sys.executable, "-S", "-s"]

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*python, *argv], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    assert run("-c", "import torch").returncode != 0
    assert run("-c", "import tuner").returncode != 0
    done = run(str(unpacked / "loader.py"), "--runs", "5")
    assert done.returncode == 0, done.stderr
    assert f"last_hidden_state: float32[1, {SEQ_LEN}, 32]" in done.stdout
    assert "median" in done.stdout


def test_a_job_for_texts_ends_with_an_artifact_that_takes_them_as_they_are(
    service: Service, model: Path, finished: Observed, tmp_path: Path
) -> None:
    watch = submit(service, model, lengths="2:14", budget={"trials": TRIALS})
    watch.wait_for("succeeded")
    job = watch.ask()
    watch.close()
    assert job["lengths"] == [2, 8, 14]
    assert job["predicted_ms"] > 0
    assert job["latency_ms"] > 0
    tar = tmp_path / "texts.tar"
    tar.write_bytes(service.ask("GET", f"/v1/artifacts/{job['artifact_id']}/download").content)
    with tarfile.open(tar) as members:
        members.extractall(tmp_path, filter="data")
    call = "load('texts.tar').run(input_ids=[[5, 6], [7] * 9])['last_hidden_state']"
    script = f"from loader import load; print([rows.shape for rows in {call}])"
    answer = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    hidden = json.loads((tmp_path / "manifest.json").read_text())["outputs"][0]["shape"][1]
    assert answer.stdout.strip() == f"[(2, {hidden}), (9, {hidden})]"


def test_a_job_with_records_of_others_is_tuned_in_processes_of_its_own(service: Service, finished: Observed) -> None:
    operator = {"model": "op:gemm:16,32,48", "seq_len": 1, "budget": {"trials": TRIALS}}
    theirs = submit(service, **operator)
    theirs.wait_for("succeeded")
    of_job = {"job_id": theirs.id}
    log = service.ask("GET", "/v1/records/export", params=of_job).content
    assert service.ask("DELETE", "/v1/records", params=of_job).is_success
    brought = service.ask("POST", "/v1/records/import", content=log).json()
    assert brought["imported"] > 0
    watch = submit(service, **operator)
    apart: set[str] = set()

    def has_ended() -> bool:
        state = watch.row.state
        if secluded(service):
            apart.add(state)
        return state in ("succeeded", "failed")

    wait_until(has_ended, 120, f"the end of {watch.id}")
    assert watch.row.state == "succeeded", watch.row.error
    assert {"tuning", "compiling"} <= apart
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
    service: Service, model: Path, finished: Observed, tmp_path: Path
) -> None:
    """The first half of the weights comes over REST, the rest by a command that sees files of its own."""
    folder = tmp_path / "mine"
    shutil.copytree(model, folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    weights = files["model.safetensors"]
    half = len(weights) // 2
    with httpx.Client(base_url=service.url, headers=service.headers, timeout=60) as client:
        upload = begun(client, files)
        assert put(client, upload, "model.safetensors", weights[:half]).status_code == 204
        assert client.post(f"/v1/uploads/{upload['id']}/complete").json()["error"]["code"] == "upload_invalid"
    argv = ["unshare", "--mount", *COMMAND, "tune", "./mine", "--seq-len", str(SEQ_LEN), "--trials", str(TRIALS)]
    environment = os.environ | {"TUNER_DATA_DIR": str(service.data_dir), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*argv, "--follow", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    sent = service.ask("GET", f"/v1/uploads/{upload['id']}").json()
    assert (sent["state"], job["model"], job["state"]) == ("complete", sent["model"], "succeeded")
    assert {file["path"] for file in sent["files"]} == set(files)
    assert service.ask("POST", f"/v1/artifacts/{job['artifact_id']}/verify").json()["ok"]


def test_a_network_of_ones_own_is_tuned_verified_and_compared(
    service: Service, finished: Observed, tmp_path: Path
) -> None:
    from torch import nn, ones

    layers = (nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.SiLU(), nn.Flatten(), nn.Linear(72, 10), nn.ReLU())
    network = nn.Sequential(*layers, nn.Linear(10, 10), nn.ReLU())
    file = save_module(network, [ones(2, 3, 8, 8)], tmp_path / "network.pt2")
    watch = submit(service, file, budget={"trials": TRIALS})
    watch.wait_for("succeeded")
    job = watch.ask()
    watch.close()
    manifest = service.ask("GET", f"/v1/artifacts/{job['artifact_id']}").json()["manifest"]
    assert manifest["verification"]["against"] == "PyTorch, float32"
    assert manifest["verification"]["max_abs_error"] < 1e-4
    assert [(one["shape"], one["dtype"]) for one in manifest["inputs"]] == [([2, 3, 8, 8], "float32")]
    rows = service.ask("GET", "/v1/benchmarks", params={"job_id": job["id"]}).json()["items"]
    assert {row["variant"] for row in rows} == {"torch-eager", "untuned", "tuned"}


@pytest.fixture(scope="module")
def tuning(service: Service, model: Path, finished: Observed) -> Iterator[JobWatch]:
    """A second job of the same model that would tune for a long time; every test below shares it."""
    watch = submit(service, model, budget={"trials": 20_000})
    watch.wait_for("tuning")
    yield watch
    watch.close()


@pytest.mark.timeout(900)
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


def test_second_job_starts_from_the_records_of_the_first(tuning: JobWatch, finished: Observed) -> None:
    wait_until(lambda: "known records" in tuning.row.message, 10, "the message")
    known = re.search(r"starting from (\d+) known records", tuning.row.message)
    assert known is not None
    assert int(known[1]) >= finished.job["trials"]
    assert len(tuning.best_us()) > 0


@pytest.mark.parametrize("part", ["web", "coordinator", "device", "tracker", "worker", "engine"])
def test_kill_of_a_part_costs_at_most_one_round(service: Service, tuning: JobWatch, part: str) -> None:
    tuning.wait_for("tuning")
    tuning.wait_for_round_in_progress()
    best, known = tuning.best_us(), {record.id for record in tuning.records()}
    done, lost = len(tuning.rounds("done")), len(tuning.rounds("lost"))
    kill_hard(engine_worker(service) if part == "worker" else service.pid(part))
    tuning.wait_for_rounds_after(done, more=2)
    assert len(tuning.rounds("lost")) - lost <= 1
    assert len(tuning.rounds("failed")) == 0
    assert known <= {record.id for record in tuning.records()}, "measured results were lost"
    now = tuning.best_us()
    assert all(now[workload] <= best[workload] for workload in best)
    tuning.check_books()
    wait_until(service.is_well, 30, "the service's health")


def test_paused_job_rests_until_it_is_resumed(tuning: JobWatch) -> None:
    tuning.wait_for("tuning")
    tuning.ask("/pause", "POST")
    tuning.wait_for("paused", timeout_sec=60)
    resting = len(tuning.records())
    assert tuning.rounds("running") == []
    time.sleep(1.5)
    assert len(tuning.records()) == resting
    done = len(tuning.rounds("done"))
    tuning.ask("/resume", "POST")
    tuning.wait_for("tuning", timeout_sec=20)
    tuning.wait_for_rounds_after(done)


def test_job_that_is_cancelled_while_it_tunes_stops(tuning: JobWatch, data_dir: Path) -> None:
    tuning.wait_for_round_in_progress()
    check_cancelling(tuning, data_dir)


def test_job_that_is_cancelled_while_it_is_imported_stops(service: Service, model: Path, data_dir: Path) -> None:
    importing = submit(service, model, seq_len=SEQ_LEN + 8, budget={"trials": 2000})
    importing.wait_for("importing", timeout_sec=30)
    check_cancelling(importing, data_dir)
    importing.close()


def check_cancelling(job: JobWatch, data_dir: Path) -> None:
    job.ask("/cancel", "POST")
    job.wait_for("cancelled", timeout_sec=60)
    measured = len(job.records())
    time.sleep(1.0)
    assert len(job.records()) == measured, "it went on after the cancel"
    assert job.ask()["error"] is None
    wait_until(lambda: not list((data_dir / "jobs").glob("*")), 30, "the removal of what the job left on disk")
    job.check_books()


def test_job_goes_on_after_the_supervisor_was_killed_and_ends_well(service: Service, data_dir: Path) -> None:
    job = submit(service, "op:gemm:32,64,96", seq_len=1, budget={"trials": 20_000})
    job.wait_for("tuning")
    job.wait_for_round_in_progress()
    best, known = job.best_us(), {record.id for record in job.records()}
    kill_hard(service.process.pid)
    service.process.wait()
    with serving(data_dir, "--port", str(free_port())) as successor:
        job.service = successor
        job.wait_for_rounds_after(len(job.rounds("done")))
        assert len(job.rounds("lost")) <= 1
        assert known <= {record.id for record in job.records()}
        assert all(job.best_us()[workload] <= best[workload] for workload in best)
        job.end_budget()
        job.wait_for("succeeded")
        job.check_books()
        assert job.ask()["latency_ms"] > 0
        wait_until(lambda: not list((data_dir / "jobs").glob("*")), 30, "the removal of what the job left on disk")
    job.close()
