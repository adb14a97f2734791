from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from tests.support.rows import utcnow
from tuner.db import leases
from tuner.db.engine import read, write
from tuner.db.models import Lease

pytestmark = pytest.mark.both_databases


def test_a_lease_has_one_owner_at_a_time(engine: Engine) -> None:
    with write(engine) as session:
        assert leases.acquire(session, "coordinator", "first", 60)
    with write(engine) as session:
        assert not leases.acquire(session, "coordinator", "second", 60)
        assert leases.acquire(session, "coordinator", "first", 60)


def test_an_expired_lease_can_be_taken_over(engine: Engine) -> None:
    with write(engine) as session:
        leases.acquire(session, "coordinator", "first", -1)
    with read(engine) as session:
        assert not leases.is_held(session, "coordinator")
    with write(engine) as session:
        assert leases.acquire(session, "coordinator", "second", 60)
        assert not leases.acquire(session, "coordinator", "first", 60)


def test_only_its_owner_releases_a_lease(engine: Engine) -> None:
    with write(engine) as session:
        leases.acquire(session, "coordinator", "first", 60)
        leases.release(session, "coordinator", "second")
        assert leases.is_held(session, "coordinator")
        leases.release(session, "coordinator", "first")
        assert not leases.is_held(session, "coordinator")


def test_a_lease_from_before_the_clock_went_back_holds_nobody_off(engine: Engine) -> None:
    with write(engine) as session:
        session.add(Lease(name="coordinator", owner="first", expires_at=utcnow() + timedelta(hours=1)))
    with write(engine) as session:
        assert leases.acquire(session, "coordinator", "second", 60)
        assert not leases.acquire(session, "coordinator", "first", 60)
