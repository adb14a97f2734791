"""A job of a tiny model on a real service, from the wish to the artifact; then every part is killed while it tunes."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
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

from tests.support.job_watch import SEQ_LEN, TRIALS, JobWatch, engine_worker, mapped_libraries, submit
from tests.support.manifests import manifest_fields
from tests.support.processes import ROOT, kill_hard, patience, python_code, running, wait_until
from tests.support.service import COMMAND, SMALL_ROUNDS, Service, serving
from tuner.client.events import ServerEvent, parse_events

pytestmark = pytest.mark.timeout(1800)  # it runs a job of a service to its end, and starts two services

# A process that does nothing but answer.
_PLAIN_SERVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@dataclass
class Answers:
    """How long the web process took for each answer, and how long a process that does nothing but answer."""

    web_ms: list[float] = field(default_factory=list)
    plain_ms: list[float] = field(default_factory=list)

    @property
    def web_in_plain(self) -> float:
        """The former as a multiple of the latter, which is as long as a crowded machine makes it."""
        return float(np.median(self.web_ms) / np.median(self.plain_ms))


@dataclass
class Observed:
    """What could be seen of a job while it ran."""

    job: dict[str, Any]
    events: list[ServerEvent] = field(default_factory=list)
    at_rest: Answers = field(default_factory=Answers)
    meanwhile: Answers = field(default_factory=Answers)
    mapped: dict[str, set[str]] = field(default_factory=dict)


def listen(service: Service, job_id: str, last_event_id: str | None = None) -> list[ServerEvent]:
    """The job's events until its end, over SSE."""
    headers = service.headers | ({} if last_event_id is None else {"Last-Event-ID": last_event_id})
    found = []
    with httpx.stream(
        "GET", f"{service.url}/v1/events", params={"job_id": job_id}, headers=headers, timeout=patience(40)
    ) as stream:
        for event in parse_events(stream.iter_lines()):
            if event.id:
                found.append(event)
            if event.kind == "state" and event.data["data"]["state"] in ("succeeded", "failed", "cancelled"):
                break
    return found


_NO_ERRORS = {"response": [lambda response: response.raise_for_status()]}


@contextmanager
def answering(service: Service) -> Iterator[Callable[[Answers], None]]:
    """Has the web process, and one that does nothing but answer, answer once whenever it is called."""
    options = {"timeout": patience(10), "event_hooks": _NO_ERRORS}
    with (
        running(python_code(_PLAIN_SERVER)) as plain,
        httpx.Client(base_url=service.url, headers=service.headers, **options) as client,
        httpx.Client(**options) as other,
    ):
        assert plain.stdout is not None
        plain_url = f"http://127.0.0.1:{int(plain.stdout.readline())}"

        def time_ms(ask: Callable[[], object]) -> float:
            start = time.perf_counter()
            ask()
            return (time.perf_counter() - start) * 1e3

        def time_answers(found: Answers) -> None:
            found.web_ms += [time_ms(functools.partial(client.get, path)) for path in ("/healthz", "/v1/jobs")]
            time.sleep(0.05)
            found.plain_ms.append(time_ms(lambda: other.get(plain_url)))

        yield time_answers


@pytest.fixture(scope="module")
def finished(service: Service, model: Path) -> Observed:
    """The first job of the service, at its end. Its model's folder is elsewhere from when it tunes on."""
    seen = Observed({})
    with answering(service) as time_answers:
        while len(seen.at_rest.web_ms) < 40:
            time_answers(seen.at_rest)
    watch = submit(service, model, budget={"trials": TRIALS})
    listener = threading.Thread(target=lambda: seen.events.extend(listen(service, watch.id)))
    listener.start()
    watch.wait_for("tuning")
    moved = model.rename(model.with_name("moved"))
    with answering(service) as time_answers:
        while watch.row.state in ("tuning", "compiling"):
            time_answers(seen.meanwhile)
    seen.mapped = {name: mapped_libraries(service.pid(name)) for name in ("web", "coordinator")}
    watch.wait_for("succeeded")
    moved.rename(model)
    seen.job = watch.ask()
    listener.join(timeout=patience(30))
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
    """Waiting for a turn of a busy core is no more than that; waiting for a build or a measurement would be."""
    assert len(finished.meanwhile.web_ms) > 20
    assert finished.meanwhile.web_in_plain < 5 * finished.at_rest.web_in_plain, finished.meanwhile


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc here")
def test_web_and_coordinator_never_map_tvm_or_torch(finished: Observed) -> None:
    for name, libraries in finished.mapped.items():
        assert libraries, name
        assert not heavy(libraries), name


def heavy(libraries: set[str]) -> set[str]:
    """Whose they are of those that take seconds to load."""
    return {found[1] for library in libraries if (found := re.match(r"lib(tvm|torch|c10)", library))}


def test_benchmarks_compare_with_pytorch(service: Service, finished: Observed) -> None:
    answer = service.ask("GET", "/v1/benchmarks", params={"job_id": finished.job["id"]}).json()
    rows = {row["variant"]: row for row in answer["items"]}
    assert set(rows) == {"torch-eager", "torch-sdpa", "untuned", "tuned"}
    assert all(0 < row["p10_ms"] <= row["median_ms"] <= row["p90_ms"] and row["n"] >= 5 for row in rows.values())
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
    assert manifest.keys() <= manifest_fields()
    assert manifest["latency"]["median_ms"] == finished.job["latency_ms"]
    module = {"lib.so", "source.ll", "graph.relax", "params.safetensors", "loader.py", "records.jsonl"}
    assert set(manifest["files"]) == module | {"tokenizer.json", "tokenizer_config.json", "vocab.txt"}


def test_run_command_times_the_artifact(artifact: Path) -> None:
    argv = [*COMMAND, "run", str(artifact), "--runs", "5", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=patience(60), check=False)
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
            [*python, *argv],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=patience(60),
            check=False,
        )

    assert run("-c", "import torch").returncode != 0
    assert run("-c", "import tuner").returncode != 0
    done = run(str(unpacked / "loader.py"), "--runs", "5")
    assert done.returncode == 0, done.stderr
    assert f"last_hidden_state: float32[1, {SEQ_LEN}, 32]" in done.stdout
    assert "median" in done.stdout


@pytest.fixture(scope="module")
def tuning(service: Service, model: Path, finished: Observed) -> Iterator[JobWatch]:
    """A second job of the same model that would tune for a long time; every test below shares it."""
    watch = submit(service, model, budget={"trials": 20_000})
    watch.wait_for("tuning")
    yield watch
    watch.close()


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
    if part in ("worker", "engine") and Path("/proc/self/maps").exists():
        assert heavy(mapped_libraries(engine_worker(service))) == {"tvm"}, "only who imports a model needs PyTorch"


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


def test_job_that_is_cancelled_while_it_tunes_stops(service: Service, tuning: JobWatch, data_dir: Path) -> None:
    service.ask("POST", f"/v1/jobs/{tuning.id}/cancel")  # it may have tried all there was to try by now
    tuning.wait_for("cancelled", "succeeded")
    job = submit(service, "op:gemm:48,64,96", seq_len=1, budget={"trials": 20_000})
    job.wait_for("tuning")
    job.wait_for_round_in_progress()
    check_cancelling(job, data_dir)
    job.close()


def test_job_that_is_cancelled_while_it_is_imported_stops(service: Service, model: Path, data_dir: Path) -> None:
    for more in (8, 16, 24):  # who looks too late finds it imported
        importing = submit(service, model, seq_len=SEQ_LEN + more, budget={"trials": 2000})
        is_imported = importing.wait_for("importing", "extracting", "tuning").state != "importing"
        check_cancelling(importing, data_dir)
        importing.close()
        if not is_imported:
            return
    pytest.fail("it was never seen while it was imported")


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
    with serving(data_dir, "--port", "0", **SMALL_ROUNDS) as successor:
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
