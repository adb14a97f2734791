"""What jobs keep on disk is removed when they have ended, and nothing else ever is."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from tuner.config import Settings
from tuner.db.engine import make_engine
from tuner.db.migrate import upgrade
from tuner.jobs import job_folders

ENDED, UNFINISHED = "job-0123456789", "job-9876543210"


def left(settings: Settings) -> set[str]:
    """What lies among the folders of jobs, files by their path."""
    return {str(path.relative_to(settings.jobs_dir)) for path in settings.jobs_dir.rglob("*") if path.name[0] != "."}


def test_the_folder_of_an_ended_job_goes_and_that_of_an_unfinished_one_stays(
    engine: Engine, settings: Settings
) -> None:
    for job_id in (ENDED, UNFINISHED):
        folder = job_folders.make(settings, engine, job_id)
        (folder / "staging").mkdir()
        (folder / "lib.so").touch()
    job_folders.sweep(settings, engine, {UNFINISHED})
    assert left(settings) == {UNFINISHED, f"{UNFINISHED}/staging", f"{UNFINISHED}/lib.so"}


@pytest.mark.parametrize("name", ["my-thesis", "job-title", "job-0123456789-notes", ENDED])
def test_a_strangers_folder_survives(engine: Engine, settings: Settings, name: str) -> None:
    chapter = settings.jobs_dir / name / "chapter1.txt"
    chapter.parent.mkdir(parents=True)
    chapter.write_text("years of work")
    (settings.jobs_dir / "notes.txt").touch()
    job_folders.sweep(settings, engine, set())
    assert left(settings) == {name, f"{name}/chapter1.txt", "notes.txt"}


def test_what_a_link_leads_to_survives(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    elsewhere = job_folders.make(settings, engine, ENDED).rename(tmp_path / "elsewhere")
    (settings.jobs_dir / ENDED).symlink_to(elsewhere)
    inside = job_folders.make(settings, engine, "job-aaaaaaaaaa")
    (inside / "link").symlink_to(elsewhere)
    job_folders.sweep(settings, engine, set())
    assert len(list(elsewhere.iterdir())) == 1
    assert not inside.exists()


def test_the_folder_of_another_databases_job_survives(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    other_settings = Settings(data_dir=tmp_path / "other")
    upgrade(other_settings)
    other = make_engine(other_settings)
    job_folders.make(settings, other, ENDED)
    job_folders.sweep(settings, engine, set())
    assert left(settings) == {ENDED}
    job_folders.sweep(settings, other, set())
    assert left(settings) == set()
    other.dispose()


def test_the_folder_that_an_earlier_release_made_goes_when_its_job_ends(engine: Engine, settings: Settings) -> None:
    (settings.jobs_dir / UNFINISHED / "staging").mkdir(parents=True)
    job_folders.sweep(settings, engine, {UNFINISHED})
    assert left(settings) == {UNFINISHED, f"{UNFINISHED}/staging"}
    job_folders.sweep(settings, engine, set())
    assert left(settings) == set()


def test_without_any_job_there_is_nothing_to_remove(engine: Engine, settings: Settings) -> None:
    job_folders.sweep(settings, engine, set())
    assert not settings.jobs_dir.exists()
