"""What nobody needs goes by the user's rules, and nothing else does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import select
from typer.testing import CliRunner

from tests.support.coordination import Bench
from tests.support.rows import add_job, utcnow
from tuner.cli import doctor, tables
from tuner.cli.main import app
from tuner.config import Settings
from tuner.db import events, jobs
from tuner.db.engine import read, write
from tuner.db.models import Artifact
from tuner.importers import shelf
from tuner.jobs import housekeeping, publish, tidying
from tuner.jobs.going import Going
from tuner.schemas import ArtifactOut, Page

LONG_AGO = utcnow() - timedelta(days=90)
OLD, NEW, NEVER_BEFORE = "art-" + "1" * 20, "art-" + "2" * 20, "art-" + "3" * 20


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Artifacts are kept for a month after they were replaced."""
    return settings.model_copy(update={"keep_artifacts_days": 30.0, "cache_bytes": 250})


@pytest.fixture
def house(settings: Settings, engine: Engine) -> Settings:
    """A model tuned twice, long ago and lately."""
    settings.artifacts_dir.mkdir(parents=True)
    with write(engine) as session:
        for artifact_id, ended_at in ((OLD, LONG_AGO), (NEW, utcnow())):
            job = add_job(session, "succeeded", artifact_id=artifact_id, finished_at=ended_at)
            events.emit(session, "message", {"message": "done"}, job.id)
            session.add(_row(artifact_id, job.id))
    for artifact_id in (OLD, NEW):
        _file(settings, f"{artifact_id}-{'a' * 12}.tar")
    return settings


def _row(artifact_id: str, job_id: str) -> Artifact:
    path = f"{artifact_id}-{'a' * 12}.tar"
    return Artifact(id=artifact_id, job_id=job_id, path=path, size_bytes=7, sha256="0", manifest={"files": {}})


def _file(settings: Settings, name: str, age_sec: float = 7200.0) -> Path:
    path = settings.artifacts_dir / name
    path.write_bytes(b"content")
    os.utime(path, (time.time() - age_sec, time.time() - age_sec))
    return path


def _import(settings: Settings, digit: str, age_sec: float) -> Path:
    folder = settings.imports_dir / (digit * 20)
    folder.mkdir(parents=True)
    (folder / "params.safetensors").write_bytes(b"x" * 100)
    (folder / shelf.ABOUT).touch()
    os.utime(folder / shelf.ABOUT, (time.time() - age_sec, time.time() - age_sec))
    return folder


def clean(settings: Settings, engine: Engine) -> list[Going]:
    return list(housekeeping.clean(settings, engine))


def names(going: list[Going]) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in going]


def files(settings: Settings) -> set[str]:
    return {path.name[:24] for path in settings.artifacts_dir.iterdir()}


def test_an_artifact_that_was_replaced_long_ago_loses_its_file_and_keeps_its_row(
    house: Settings, engine: Engine, client: TestClient
) -> None:
    gone = clean(house, engine)
    assert ("artifact", OLD) in names(gone)
    assert files(house) == {NEW}
    answer = client.get(f"/v1/artifacts/{OLD}/download")
    assert answer.status_code == 410
    assert "TUNER_KEEP_ARTIFACTS_DAYS" in answer.json()["error"]["message"]
    assert client.get(f"/v1/artifacts/{OLD}").json()["evicted_at"] is not None
    assert client.get(f"/v1/artifacts/{NEW}").json()["evicted_at"] is None
    assert housekeeping.survey(house, engine).lost == []
    assert ("artifact", OLD) not in names(clean(house, engine))


def test_without_a_rule_every_artifact_stays(house: Settings, engine: Engine) -> None:
    clean(house.model_copy(update={"keep_artifacts_days": None}), engine)
    assert files(house) == {OLD, NEW}


def test_a_file_that_is_being_published_again_stays(house: Settings, engine: Engine) -> None:
    _file(house, f"{OLD}-{'a' * 12}.tar", age_sec=1.0)
    assert ("artifact", OLD) not in names(clean(house, engine))
    assert files(house) == {OLD, NEW}


def test_what_was_removed_is_whole_again_once_a_job_makes_it_again(
    house: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean(house, engine)
    monkeypatch.setattr(publish, "seal", lambda folder, manifest: manifest)
    (module := tmp_path / "module").mkdir()
    (module / "manifest.json").write_text("{}")
    with write(engine) as session:
        job_id = add_job(session, "verifying").id
    publish.publish_unmeasured(house, engine, job_id, module, {"id": OLD, "files": {}})
    with read(engine) as session:
        row = session.get_one(Artifact, OLD)
    assert row.evicted_at is None
    assert (house.artifacts_dir / row.path).is_file()


def test_files_without_a_row_go_if_they_are_ours_and_old(house: Settings, engine: Engine) -> None:
    stray = _file(house, f"{NEVER_BEFORE}-{'b' * 12}.tar")
    other = _file(house, f"{NEW}-{'b' * 12}.tar")  # of a known artifact, but not its file
    fresh = _file(house, f"{NEVER_BEFORE}-{'c' * 12}.tar", age_sec=10.0)
    theirs = [_file(house, name) for name in ("art-mine.tar", "holiday.tar", f"{NEVER_BEFORE}.txt")]
    gone = clean(house, engine)
    assert {name for kind, name in names(gone) if kind == "stray file"} == {stray.name, other.name}
    assert not stray.exists()
    assert not other.exists()
    assert fresh.exists()
    assert all(path.exists() for path in theirs)


def test_artifacts_whose_file_is_gone_are_named(house: Settings, engine: Engine) -> None:
    (house.artifacts_dir / f"{NEW}-{'a' * 12}.tar").unlink()
    assert housekeeping.survey(house, engine).lost == [NEW]


def test_imports_go_until_they_fit(house: Settings, engine: Engine) -> None:
    folders = [_import(house, digit, age) for digit, age in zip("abcd", (9e5, 8e5, 7e5, 1.0), strict=True)]
    gone = clean(house, engine)
    assert {name for kind, name in names(gone) if kind == "import"} == {folders[0].name, folders[1].name}
    assert [folder.exists() for folder in folders] == [False, False, True, True]


def test_imports_that_an_unfinished_job_has_made_stay(house: Settings, engine: Engine) -> None:
    paused, finished, fresh = (_import(house, digit, age) for digit, age in zip("abc", (9e5, 4e5, 1.0), strict=True))
    with write(engine) as session:
        add_job(session, "paused", import_key=paused.name)
        add_job(session, "failed", import_key=finished.name)
    clean(house.model_copy(update={"cache_bytes": 0}), engine)
    assert [folder.exists() for folder in (paused, finished, fresh)] == [True, False, True]


def test_an_artifact_that_an_unfinished_job_was_given_meanwhile_stays(
    house: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = housekeeping._artifacts(house, engine)
    with write(engine) as session:
        add_job(session, "benchmarking", artifact_id=OLD)
    monkeypatch.setattr(housekeeping, "_artifacts", lambda *_: found)
    assert ("artifact", OLD) not in names(clean(house, engine))
    assert files(house) == {OLD, NEW}


def _operator(settings: Settings, name: str, age_days: float) -> Path:
    settings.operators_dir.mkdir(exist_ok=True)
    path = settings.operators_dir / name
    path.write_text("{}")
    os.utime(path, (time.time() - age_days * 86400,) * 2)
    return path


def test_operators_go_when_no_job_was_of_them_for_long(house: Settings, engine: Engine) -> None:
    names_of = {word: f"{word}-{'a' * 12}.operator.json" for word in ("idle", "used", "waits", "new")}
    paths = {word: _operator(house, name, 0.5 if word == "new" else 90) for word, name in names_of.items()}
    theirs = _operator(house, "mine.operator.json", 90)
    with write(engine) as session:
        for word, ended_at in (("idle", LONG_AGO), ("used", utcnow()), ("waits", None)):
            add_job(session, "succeeded" if ended_at else "submitted", model=str(paths[word]), finished_at=ended_at)
    assert [one for one in clean(house, engine) if one.kind == "operator"] == []
    ruled = house.model_copy(update={"keep_operators_days": 30.0})
    assert ("operator", paths["idle"].name) in names(housekeeping.survey(ruled, engine).going)
    assert [one.name for one in clean(ruled, engine) if one.kind == "operator"] == [paths["idle"].name]
    assert {word for word, path in paths.items() if path.exists()} == {"used", "waits", "new"}
    assert theirs.exists(), "it has a name that nobody gave it here"


def test_copies_of_the_database_go_by_a_rule_and_the_newest_never(house: Settings, engine: Engine) -> None:
    copies = [house.root / f"tunesmith-backup-2025010{day}-120000.db" for day in (1, 2, 3, 4)]
    for path, age_days in zip(copies, (90, 80, 1, 70), strict=True):
        path.write_text("copy")
        os.utime(path, (time.time() - age_days * 86400,) * 2)
    theirs = house.root / "tunesmith-backup-mine.db"
    theirs.write_text("a copy of somebody's own")
    os.utime(theirs, (0, 0))
    assert [one for one in clean(house, engine) if one.kind == "backup"] == []
    ruled = house.model_copy(update={"keep_backups_days": 30.0})
    assert [one.name for one in clean(ruled, engine) if one.kind == "backup"] == [path.name for path in copies[:2]]
    assert [path.exists() for path in (*copies, theirs)] == [False, False, True, True, True]


def test_events_of_old_jobs_are_thinned_out(house: Settings, engine: Engine) -> None:
    clean(house, engine)
    with read(engine) as session:
        left = {job.artifact_id: len(events.since(session, 0, job.id)) for job in jobs.find(session).rows}
    assert left == {OLD: 0, NEW: 1}


def test_a_survey_names_what_would_go_and_leaves_it(house: Settings, engine: Engine) -> None:
    _file(house, f"{NEVER_BEFORE}-{'b' * 12}.tar")
    for digit, age in zip("abc", (9e5, 8e5, 7e5), strict=True):
        _import(house, digit, age)
    found = housekeeping.survey(house, engine)
    assert files(house) == {OLD, NEW, NEVER_BEFORE}
    assert len(shelf.kept(house.imports_dir)) == 3
    assert housekeeping.survey(house, engine) == found
    assert names(clean(house, engine)) == names(found.going)
    assert housekeeping.survey(house, engine).going == []


def test_the_command_shows_first_and_cleans_then(
    house: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_KEEP_ARTIFACTS_DAYS", "30")
    argv = ["gc", "--data-dir", str(house.root)]
    shown = CliRunner().invoke(app, [*argv, "--dry-run"])
    assert shown.exit_code == 0, shown.output
    assert OLD in shown.stdout
    assert files(house) == {OLD, NEW}
    assert OLD in CliRunner().invoke(app, argv).stdout
    assert files(house) == {NEW}


def test_a_removed_file_is_said_on_pages_and_in_lists_and_not_offered(
    house: Settings, engine: Engine, client: TestClient
) -> None:
    with write(engine) as session:
        (job_id,) = session.exec(select(Artifact.job_id).where(Artifact.id == OLD))
    clean(house, engine)
    pages = client.get("/artifacts").text, client.get(f"/jobs/{job_id}").text
    assert all("removed" in page for page in pages)
    assert not any(f"/v1/artifacts/{OLD}/download" in page for page in pages)
    rows = Page[ArtifactOut].model_validate(client.get("/v1/artifacts").json()).items
    assert list(tables.artifacts_table(rows).columns[5].cells) == ["7 B", "removed"]


def test_the_doctor_says_what_is_kept_by_which_rules(house: Settings) -> None:
    _import(house, "a", 1.0)
    said = doctor.check_kept(house).detail
    assert "imports 100 B of 250 B (TUNER_CACHE_BYTES)" in said
    assert "artifacts 14 B, replaced ones for 30 days (TUNER_KEEP_ARTIFACTS_DAYS)" in said


def test_a_coordinator_cleans_up_between_tasks_once_an_hour(
    house: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "TURN_SEC", 3600.0)
    bench = Bench(house, engine)
    bench.pass_()
    assert files(house) == {NEW}
    stray = _file(house, f"{NEVER_BEFORE}-{'b' * 12}.tar")
    bench.pass_(60.0)
    bench.pass_(60.0)
    assert stray.exists()
    bench.pass_(tidying.EVERY_SEC)
    assert not stray.exists()


def test_what_takes_long_to_clean_up_is_spread_over_passes(
    house: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "TURN_SEC", 0.0)
    for letter in "abc":
        _file(house, f"{NEVER_BEFORE}-{letter * 12}.tar")
    bench, left = Bench(house, engine), []
    for _ in range(5):
        bench.pass_()
        left.append(len(list(house.artifacts_dir.iterdir())))
    assert left == [4, 3, 2, 1, 1]


def test_what_can_not_be_cleaned_up_stops_no_coordinator(
    house: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fail(settings: Settings, engine: Engine) -> Iterator[Going]:
        asked.append(settings)
        raise PermissionError("somebody else's")
        yield

    monkeypatch.setattr(housekeeping, "clean", fail)
    bench = Bench(house, engine)
    job_id = bench.submit()
    bench.run_to(job_id, "succeeded")
    assert asked == [house]
