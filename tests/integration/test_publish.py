"""An artifact's tar and its row come together and go together, whoever publishes and whoever deletes meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support.rows import add_job
from tuner.config import Settings
from tuner.db import jobs
from tuner.db.engine import read, write
from tuner.db.models import Artifact
from tuner.jobs import artifact_files, control
from tuner.jobs.publish import packed
from tuner.jobs.publish import publish as publish_packed

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


def publish(settings: Settings, engine: Engine, job_id: str, module: Path, content: str = "") -> None:
    (module / "figures.txt").write_text(content)
    with packed(settings, job_id, module, {**MANIFEST, "latency": content}) as made:
        publish_packed(engine, job_id, made)


def test_what_is_packed_while_the_same_is_deleted_is_published(
    settings: Settings, engine: Engine, module: Path, job_ids: list[str]
) -> None:
    first, second = job_ids
    publish(settings, engine, first, module)
    with packed(settings, second, module, MANIFEST) as made:
        control.delete(engine, settings, first)
        publish_packed(engine, second, made)
    assert whole(settings, engine)


def test_deletion_takes_no_file_that_was_published_after_its_row_was_gone(
    settings: Settings, engine: Engine, module: Path, job_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = job_ids
    publish(settings, engine, first, module)
    unlink = Path.unlink

    def publish_first(path: Path, missing_ok: bool = False) -> None:
        monkeypatch.setattr(Path, "unlink", unlink)
        publish(settings, engine, second, module, "of another minute")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", publish_first)
    control.delete(engine, settings, first)
    assert whole(settings, engine)


def test_who_makes_the_same_again_changes_neither_file_nor_proof(
    settings: Settings, engine: Engine, module: Path, job_ids: list[str]
) -> None:
    first, second = job_ids
    publish(settings, engine, first, module, "measured by the first")
    with read(engine) as session:
        before = session.get_one(Artifact, "art-same")
    content = (settings.artifacts_dir / before.path).read_bytes()
    publish(settings, engine, second, module, "measured by the second")
    with read(engine) as session:
        after = session.get_one(Artifact, "art-same")
        assert after.model_dump() == before.model_dump()
        assert jobs.evidence(session, first)["latency"] == "measured by the first"
        assert jobs.evidence(session, second)["latency"] == "measured by the second"
        assert {jobs.get(session, job_id).artifact_id for job_id in job_ids} == {"art-same"}
    assert (settings.artifacts_dir / after.path).read_bytes() == content
    assert whole(settings, engine)


def test_a_row_that_can_not_be_written_leaves_what_was_published_as_it_was(
    settings: Settings, engine: Engine, module: Path, job_ids: list[str]
) -> None:
    publish(settings, engine, job_ids[0], module, "before")

    def break_off(*_: object) -> None:
        raise LookupError

    (module / "figures.txt").write_text("after")
    with packed(settings, job_ids[1], module, MANIFEST) as made, pytest.raises(LookupError):
        publish_packed(engine, job_ids[1], made, break_off)
    with read(engine) as session:
        known = session.get_one(Artifact, "art-same")
        assert jobs.get(session, job_ids[1]).artifact_id is None
    assert artifact_files.check(settings, known).problems == []


def test_a_module_whose_file_is_gone_is_published_again(
    settings: Settings, engine: Engine, module: Path, job_ids: list[str]
) -> None:
    publish(settings, engine, job_ids[0], module)
    (lost,) = settings.artifacts_dir.iterdir()
    lost.unlink()
    publish(settings, engine, job_ids[1], module, "made again")
    assert whole(settings, engine)
    with read(engine) as session:
        assert artifact_files.check(settings, session.get_one(Artifact, "art-same")).ok


def test_what_can_not_be_kept_leaves_nothing(settings: Settings, engine: Engine, module: Path) -> None:
    with pytest.raises(LookupError), packed(settings, "job-none", module, MANIFEST):
        raise LookupError
    assert list(settings.artifacts_dir.iterdir()) == []


def whole(settings: Settings, engine: Engine) -> bool:
    """Is the artifact known, and is its tar all that lies there?"""
    with read(engine) as session:
        known = session.get(Artifact, "art-same")
    return known is not None and [path.name for path in settings.artifacts_dir.iterdir()] == [known.path]
