"""What is known of uploads is the same on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from tests.support.rows import add_job
from tuner.db import clock, jobs, uploads
from tuner.db.engine import read, write
from tuner.db.models import Upload
from tuner.db.paging import Window
from tuner.errors import Conflict, NotFound

pytestmark = pytest.mark.both_databases


def add(engine: Engine, name: str, **fields: object) -> Upload:
    with write(engine) as session:
        upload = Upload(name=name, **{"digest": name, "size_bytes": 2**40, **fields})
        session.add(upload)
    return upload


def test_an_upload_is_found_by_id_and_by_name(engine: Engine) -> None:
    upload = add(engine, "mine", owner="ann")
    with read(engine) as session:
        assert uploads.get(session, upload.id) == uploads.get(session, "mine")
        assert uploads.get(session, "mine").used_at.tzinfo is not None
        with pytest.raises(NotFound, match="other"):
            uploads.get(session, "other")


def test_a_name_is_given_once(engine: Engine) -> None:
    add(engine, "mine")
    with pytest.raises(IntegrityError):
        add(engine, "mine")


def test_sizes_beyond_32_bits_add_up(engine: Engine) -> None:
    one = add(engine, "one")
    add(engine, "two")
    with read(engine) as session:
        assert uploads.size_bytes(session) == 2**41
        assert uploads.size_bytes(session, but=one.id) == 2**40


def test_a_content_is_found_complete_or_as_ones_own(engine: Engine) -> None:
    anns = add(engine, "anns", owner="ann", digest="same")
    with read(engine) as session:
        assert uploads.of_content(session, "same", "ann") == anns
        assert uploads.of_content(session, "same", "bob") is None
    bobs = add(engine, "bobs", owner="bob", digest="same", state="complete")
    with read(engine) as session:
        assert [uploads.of_content(session, "same", name) for name in ("ann", "bob", "eve")] == [bobs] * 3


def test_a_list_goes_from_the_newest_to_the_oldest(engine: Engine) -> None:
    for name in ("a", "b", "c"):
        add(engine, name)
    with read(engine) as session:
        first = uploads.find(session, Window(limit=2))
        rest = uploads.find(session, Window(limit=2, cursor=first.cursor))
    assert [row.name for row in (*first.rows, *rest.rows)] == ["c", "b", "a"]


def test_one_that_a_job_needs_is_not_let_go(engine: Engine) -> None:
    upload = add(engine, "mine")
    with write(engine) as session:
        job_id = add_job(session, "tuning", model="upload:mine").id
        add_job(session, "tuning", model="upload:other")
    with read(engine) as session, pytest.raises(Conflict, match=job_id):
        uploads.refuse_used(session, upload, "upload:mine")
    with write(engine) as session:
        jobs.get(session, job_id).state = "failed"
    with read(engine) as session:
        uploads.refuse_used(session, upload, "upload:mine")


def test_one_that_a_job_is_timed_beside_is_not_let_go(engine: Engine) -> None:
    upload = add(engine, "my_graph")
    with write(engine) as session:
        job_id = add_job(session, "tuning", against=["torch", "upload:my_graph"]).id
        add_job(session, "tuning", against=["upload:my-graph", "upload:my_graph2", "onnxruntime"])
    with read(engine) as session, pytest.raises(Conflict, match=job_id):
        uploads.refuse_used(session, upload, "upload:my_graph")
    with write(engine) as session:
        jobs.get(session, job_id).state = "cancelled"
    with read(engine) as session:
        uploads.refuse_used(session, upload, "upload:my_graph")


def test_what_was_not_used_for_long_is_found_and_a_touch_is_a_use(engine: Engine) -> None:
    upload = add(engine, "mine")
    add(engine, "complete", state="complete")
    with read(engine) as session:
        soon = clock.now(session) + timedelta(seconds=1)
        assert [one.name for one in uploads.idle(session, "receiving", soon)] == ["mine"]
    with write(engine) as session:
        uploads.touch(session, uploads.get(session, "mine"))
        session.flush()
        assert uploads.idle(session, "receiving", upload.used_at) == []
        assert uploads.known(session, [upload.id, "upl-none"]) == {upload.id}
