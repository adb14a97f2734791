"""An artifact's tar and its row come together and go together, whoever publishes and whoever deletes meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support.rows import add_job
from tuner.config import Settings
from tuner.db import jobs
from tuner.db.engine import read, write
from tuner.db.models import Artifact
from tuner.jobs import control
from tuner.jobs.publish import keep, packed, publish_unmeasured

pytestmark = pytest.mark.both_databases

MANIFEST = {"id": "art-same", "files": {}}


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def job_ids(engine: Engine) -> list[str]:
    with write(engine) as session:
        return [add_job(session, "succeeded").id for _ in range(2)]


def publish(settings: Settings, engine: Engine, job_id: str, module: Path) -> None:
    with packed(settings, job_id, module, MANIFEST) as made, write(engine) as session:
        keep(session, jobs.get(session, job_id), made)


def test_what_is_packed_while_the_same_is_deleted_is_published(
    settings: Settings, engine: Engine, module: Path, job_ids: list[str]
) -> None:
    first, second = job_ids
    publish(settings, engine, first, module)
    with packed(settings, second, module, MANIFEST) as made:
        control.delete(engine, settings, first)
        with write(engine) as session:
            keep(session, jobs.get(session, second), made)
    assert whole(settings, engine)


def test_deletion_takes_no_file_that_was_published_after_its_row_was_gone(
    settings: Settings, engine: Engine, module: Path, job_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = job_ids
    publish(settings, engine, first, module)
    other = threading.Thread(target=publish, args=(settings, engine, second, module))
    unlink = Path.unlink

    def slow(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".tar" and not other.ident:
            other.start()
            other.join(0.5)  # it would be through by then
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", slow)
    control.delete(engine, settings, first)
    other.join()
    assert whole(settings, engine)


def test_unmeasured_module_is_packed_again_when_its_file_is_gone_and_left_alone_when_not(
    settings: Settings, engine: Engine, module: Path, job_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.jobs.publish.seal", lambda folder, manifest: manifest)
    manifest: dict[str, Any] = MANIFEST
    tar = settings.artifacts_dir / "art-same.tar"
    publish_unmeasured(settings, engine, job_ids[0], module, manifest)
    before = tar.stat().st_mtime_ns
    publish_unmeasured(settings, engine, job_ids[1], module, manifest)
    assert tar.stat().st_mtime_ns == before
    tar.unlink()
    publish_unmeasured(settings, engine, job_ids[1], module, manifest)
    assert whole(settings, engine)
    with read(engine) as session:
        assert {jobs.get(session, job_id).artifact_id for job_id in job_ids} == {"art-same"}


def test_what_can_not_be_kept_leaves_nothing(settings: Settings, engine: Engine, module: Path) -> None:
    with pytest.raises(LookupError), packed(settings, "job-none", module, MANIFEST):
        raise LookupError
    assert list(settings.artifacts_dir.iterdir()) == []


def whole(settings: Settings, engine: Engine) -> bool:
    """Is the artifact known, and is its tar all that lies there?"""
    with read(engine) as session:
        known = session.get(Artifact, "art-same")
    return known is not None and [path.name for path in settings.artifacts_dir.iterdir()] == [known.path]
