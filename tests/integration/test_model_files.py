"""Models are fetched by processes of their own before jobs ask for the engine: a coordinator, a hub, real processes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import save_file
from sqlalchemy import Engine

from tests.support.coordination import Bench
from tests.support.fake_hub import FakeHub, fake_hub, use_in_processes
from tests.support.fake_stages import FAMILY
from tests.support.processes import command_of, patience
from tests.support.submitting import submit_job
from tests.support.tiny_models import CONFIGS, write_untrained
from tuner.config import Settings
from tuner.db.engine import write
from tuner.db.models import Job
from tuner.jobs import control
from tuner.schemas import BudgetIn, JobIn

HUB_ID = "some-org/tiny"
WAIT_SEC = patience(60)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that it comes in many pieces."""
    folder = write_untrained(tmp_path_factory.mktemp("hub") / "model")
    save_file({"weights": np.zeros((8, 1024, 1024), np.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def hub(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that processes started from here use, with an empty cache."""
    with fake_hub({HUB_ID: model}) as served:
        use_in_processes(monkeypatch, served.endpoint, tmp_path / "cache")
        yield served


class World(Bench):
    """A coordinator whose jobs are submitted as people submit them; time passes as it does."""

    def job_of(self, model: str, **changes: object) -> str:
        wish = JobIn(model=model, seq_len=16, budget=BudgetIn(trials=64)).model_copy(update=changes)
        job = submit_job(self.database, self.settings, wish)
        with write(self.database) as session:
            row = session.get_one(Job, job.id)
            row.target_family, row.target_json = FAMILY, {"kind": "llvm"}
        return job.id

    def wait_until(self, happened: Callable[[], object], what: str = "") -> None:
        deadline = time.monotonic() + WAIT_SEC
        while not happened():
            assert time.monotonic() < deadline, f"it did not happen: {what}"
            self.pass_(0.05)
            time.sleep(0.05)

    def messages(self, job_id: str) -> list[str]:
        return [event.data["message"] for event in self.events(job_id, "message")]


@pytest.fixture
def world(settings: Settings, engine: Engine) -> Iterator[World]:
    world = World(settings.model_copy(update={"min_free_bytes": 0}), engine)
    yield world
    world.coordinator.resign()


def incomplete(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").rglob("*.incomplete"))


def test_a_model_comes_with_its_progress_told_before_the_engine_is_asked(world: World, hub: FakeHub) -> None:
    world.cluster.is_down = True
    hub.pause_sec = 0.1
    job_id = world.job_of(HUB_ID)
    world.wait_until(lambda: world.job(job_id).snapshot, "the model is here")
    told = world.messages(job_id)
    assert any("downloading some-org/tiny: " in message and " MiB" in message for message in told), told
    job = world.job(job_id)
    assert (job.state, job.source_json["revision"], job.source_json["family"]) == ("submitted", hub_commit(hub), "bert")
    assert (world.settings.sources_dir / str(job.snapshot) / "model.safetensors").is_file()
    world.cluster.is_down = False
    world.wait_until(lambda: world.job(job_id).state == "tuning")


def those_that_fetch() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "tuner.importers.fetch_process" in command_of(one)]


def hub_commit(hub: FakeHub) -> str:
    (commit,) = {path.split("/resolve/")[1].split("/")[0] for path in hub.asked if "/resolve/" in path}
    return commit


def test_a_cancelled_download_ends_at_once_and_leaves_nothing(world: World, hub: FakeHub, tmp_path: Path) -> None:
    hub.holding.set()
    job_id = world.job_of(HUB_ID)
    world.wait_until(hub.held.is_set, "the download is under way")
    world.wait_until(lambda: incomplete(tmp_path))
    world.ask(control.cancel, job_id)
    world.pass_(0.0)
    world.pass_(0.0)
    assert world.job(job_id).state == "cancelled"
    world.wait_until(lambda: not incomplete(tmp_path), "its half file is gone")


def test_a_download_whose_process_is_killed_goes_on_with_another(world: World, hub: FakeHub) -> None:
    hub.holding.set()
    job_id = world.job_of(HUB_ID)
    world.wait_until(hub.held.is_set, "the download is under way")
    (fetching,) = those_that_fetch()
    fetching.kill()
    hub.holding.clear()
    world.wait_until(lambda: world.job(job_id).snapshot, "another process has brought it")
    assert world.job(job_id).source_json["revision"] == hub_commit(hub)


def test_two_jobs_of_one_model_share_one_download(world: World, hub: FakeHub) -> None:
    hub.holding.set()
    first, second = world.job_of(HUB_ID), world.job_of(HUB_ID, head="sequence-classification")
    world.wait_until(hub.held.is_set, "the download is under way")
    world.ask(control.cancel, first)
    world.wait_until(lambda: world.job(first).state == "cancelled")
    hub.holding.clear()
    world.wait_until(lambda: world.job(second).snapshot is not None, "the other job has it")
    assert world.job(second).source_json["head"] == "sequence-classification"
    assert hub.downloads() == 1


def test_a_hub_that_falls_silent_fails_the_job_after_the_deadline_and_no_other(
    settings: Settings, engine: Engine, hub: FakeHub, tmp_path: Path
) -> None:
    world = World(settings.model_copy(update={"min_free_bytes": 0, "fetch_stall_sec": 1000.0}), engine)
    hub.holding.set()
    silent = world.job_of(HUB_ID)
    world.wait_until(hub.held.is_set, "the download is under way")
    other = world.job_of(str(write_untrained(tmp_path / "folder")))
    world.wait_until(lambda: world.job(other).state == "tuning", "the other job goes on")
    assert world.job(silent).state == "submitted"
    world.pass_(1001.0)
    world.wait_until(lambda: world.job(silent).state == "failed")
    error = world.job(silent).error
    assert error is not None
    assert (error["code"], HUB_ID in error["message"]) == ("model_unreachable", True)
    world.coordinator.resign()


def test_a_hub_that_sends_more_than_it_said_is_cut_off(
    settings: Settings, engine: Engine, hub: FakeHub, tmp_path: Path
) -> None:
    most_bytes = 256 * 1024
    world = World(settings.model_copy(update={"min_free_bytes": 0, "max_model_bytes": most_bytes}), engine)
    hub.understates = True
    job_id = world.job_of(HUB_ID)
    world.wait_until(lambda: world.job(job_id).state == "failed")
    error = world.job(job_id).error or {}
    assert (error["code"], "TUNER_MAX_MODEL_BYTES" in error["message"]) == ("model_invalid", True), error
    assert all(file.stat().st_size <= most_bytes for file in (tmp_path / "cache").rglob("*") if file.is_file())
    world.coordinator.resign()


def test_what_the_hub_does_not_know_fails_the_job_with_its_reason(world: World, hub: FakeHub) -> None:
    unknown, no_such = world.job_of("some-org/nothing"), world.job_of(f"{HUB_ID}@v7")
    world.wait_until(lambda: {world.job(unknown).state, world.job(no_such).state} == {"failed"})
    assert (world.job(unknown).error or {})["code"] == "model_unknown"
    assert "no revision 'v7'" in (world.job(no_such).error or {})["message"]


def test_a_sequence_that_is_too_long_for_a_hub_model_is_told_before_anything_is_loaded(
    world: World, hub: FakeHub
) -> None:
    job_id = world.job_of(HUB_ID, seq_len=4096)
    world.wait_until(lambda: world.job(job_id).state == "failed")
    assert (world.job(job_id).error or {})["code"] == "sequence_too_long"
    assert world.cluster.submitted == []


def test_texts_are_as_long_as_a_hub_model_takes_them(world: World, hub: FakeHub) -> None:
    job_id = world.job_of(HUB_ID, seq_len=None, lengths="4:256", target="m1-cpu")
    assert max(world.job(job_id).lengths or []) > 64
    world.wait_until(lambda: world.job(job_id).snapshot)
    assert max(world.job(job_id).lengths or []) == 64


@pytest.mark.parametrize(("kind", "takes_texts"), [("bert", True), ("deberta-v2", False)])
def test_a_hub_model_for_which_nobody_asked_a_shape_is_for_texts_if_it_turns_out_to_take_them(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, takes_texts: bool
) -> None:
    with fake_hub({HUB_ID: write_untrained(tmp_path / "model", CONFIGS[kind])}) as served:
        use_in_processes(monkeypatch, served.endpoint, tmp_path / "cache")
        job_id = world.job_of(HUB_ID, seq_len=None, target="m1-cpu")
        assert world.job(job_id).lengths
        world.wait_until(lambda: world.job(job_id).snapshot)
    job = world.job(job_id)
    assert not job.shape_is_open
    if takes_texts:
        assert max(job.lengths or []) == 64
    else:
        assert (job.batch, job.seq_len, job.lengths) == (1, 64, None)
        assert any("deberta-v2 family" in message for message in world.messages(job_id))


def test_files_go_when_no_job_needs_them_any_more(world: World, tmp_path: Path) -> None:
    first, second = (world.job_of(str(write_untrained(tmp_path / name))) for name in ("one", "two"))
    world.wait_until(lambda: world.job(first).snapshot and world.job(second).snapshot)
    kept = world.job(second).snapshot
    world.ask(control.cancel, first)
    world.wait_until(lambda: [folder.name for folder in world.settings.sources_dir.iterdir()] == [kept])


def test_files_that_another_host_has_are_fetched_here_too(world: World, tmp_path: Path) -> None:
    job_id = world.job_of(str(write_untrained(tmp_path / "model")))
    world.wait_until(lambda: world.job(job_id).snapshot)
    kept = world.settings.sources_dir / str(world.job(job_id).snapshot)
    shutil.rmtree(kept)
    world.coordinator.resign()
    world.coordinator = world.successor()
    world.wait_until(kept.is_dir, "the files come once more")
    world.wait_until(lambda: world.job(job_id).state == "succeeded")


def test_a_job_of_an_earlier_release_has_its_model_found_anew(world: World, tmp_path: Path) -> None:
    job_id = world.job_of(str(write_untrained(tmp_path / "model")))
    with write(world.database) as session:
        row = session.get_one(Job, job_id)
        row.source_json, row.state = {}, "extracting"
    world.wait_until(lambda: world.job(job_id).snapshot is not None)
    assert world.job(job_id).source_json["location"] == str(tmp_path / "model")


def test_a_job_whose_model_can_not_be_read_fails_and_stops_no_other(world: World, tmp_path: Path) -> None:
    strange = world.job_of(str(write_untrained(tmp_path / "one")))
    with write(world.database) as session:
        session.get_one(Job, strange).source_json = {"name": "of another release"}
    other = world.job_of(str(write_untrained(tmp_path / "two")))
    world.wait_until(lambda: world.job(other).state == "tuning", "the other job goes on")
    assert (world.job(strange).error or {})["code"] == "stage_failed"


def test_a_folder_that_is_rewritten_before_its_turn_fails_its_job_with_the_reason(world: World, tmp_path: Path) -> None:
    folder = write_untrained(tmp_path / "model")
    job_id = world.job_of(str(folder))
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    world.wait_until(lambda: world.job(job_id).state == "failed")
    assert "changed after it was submitted" in (world.job(job_id).error or {})["message"]


def test_a_process_that_fetches_knows_no_setting_and_no_token(
    world: World, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_TOKEN", "secret")
    monkeypatch.setenv("TUNER_DATABASE_URL", "postgresql://somebody:secret@nowhere/x")
    hub.holding.set()
    world.job_of(HUB_ID)
    world.wait_until(hub.held.is_set, "the download is under way")
    (fetching,) = those_that_fetch()
    assert [name for name in fetching.environ() if name.startswith("TUNER_")] == []
