"""What any store must do with seeds: candidates that come from elsewhere and have no time here yet."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.support.rows import make_record, make_workload
from tuner.db import known, log, records
from tuner.db.engine import read, write

pytestmark = pytest.mark.both_databases

WORKLOAD, FAMILY = make_workload().id, "llvm-test"


@pytest.fixture
def store(engine: Engine) -> Engine:
    """A store that knows a seed, a good record and a failed one."""
    with write(engine) as session:
        records.put_workload(session, make_workload())
        for row in (make_record("seed", None, error_class=""), make_record("good", 1.0), make_record("bad", None)):
            assert records.add(session, row)
    return engine


def test_a_seed_was_never_tried_and_is_never_the_best(store: Engine) -> None:
    with read(store) as session:
        assert known.candidates(session, WORKLOAD, FAMILY) == {"good", "bad"}
        assert [row.candidate for row in records.best(session, WORKLOAD, FAMILY, 9)] == ["good"]
        assert [row.candidate for row in records.seeds(session, WORKLOAD, FAMILY)] == ["seed"]


def test_a_measurement_takes_the_seeds_place(store: Engine) -> None:
    with write(store) as session:
        assert records.add(session, make_record("seed", 0.5))
        assert not records.add(session, make_record("seed", 0.1))
    with read(store) as session:
        assert [row.mean_sec for row in records.best(session, WORKLOAD, FAMILY, 9)] == [0.5, 1.0]
        assert records.seeds(session, WORKLOAD, FAMILY) == []


def test_a_seed_is_stored_once_and_replaces_nothing(store: Engine) -> None:
    with write(store) as session:
        for name in ("seed", "good", "bad"):
            assert not records.add(session, make_record(name, None, error_class=""))


def test_logs_hold_no_seeds(store: Engine) -> None:
    lines = list(log.export_lines(store, failed=True))
    assert len(lines) == 2
    assert not any('"seed"' in line for line in lines)
