"""Tasks in the air: adopted, ended, and what an engine that is away leaves open."""

from __future__ import annotations

import pytest

from tests.support.fake_engine import FakeCluster, FakeEngine, Hangs
from tests.support.tasks import ROUND, STAGE
from tuner.config import Settings
from tuner.errors import EngineUnavailable
from tuner.jobs.flight import Flight
from tuner.state import ROUND as ROUND_STAGE


def hang(*_: object, **__: object) -> None:
    raise Hangs


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster({ROUND_STAGE: hang, "extract": lambda *_, **__: None})


@pytest.fixture
def flight(cluster: FakeCluster, settings: Settings) -> Flight:
    return Flight(FakeEngine(cluster, settings))


def test_a_task_is_in_the_air_until_its_end_is_settled(flight: Flight) -> None:
    flight.submit(STAGE, "extract")
    flight.reach()
    ended = flight.next_ended()
    assert ended is not None
    task, outcome = ended
    assert (task, outcome.kind) == (STAGE, "done")
    assert flight.of(STAGE.job_id) == (STAGE,)
    assert flight.next_ended() == ended
    flight.settle(STAGE.key)
    assert not flight
    assert flight.next_ended() is None


def test_what_is_to_end_occupies_its_room_until_the_engine_has_ended_it(flight: Flight, cluster: FakeCluster) -> None:
    flight.submit(ROUND, ROUND_STAGE)
    cluster.is_down = True
    flight.end(ROUND.key)
    assert flight.of(ROUND.job_id) == ()
    assert list(flight.occupying()) == [ROUND]
    flight.reach()
    assert list(flight.occupying()) == [ROUND]
    cluster.is_down = False
    flight.reach()
    assert not flight
    assert cluster.killed == [ROUND.key]


def test_what_the_engine_could_not_be_told_of_is_gone(flight: Flight, cluster: FakeCluster) -> None:
    cluster.is_down = True
    with pytest.raises(EngineUnavailable):
        flight.submit(STAGE, "extract")
    ended = flight.next_ended()
    assert ended is not None
    assert ended[1].kind == "gone"


def test_what_a_predecessor_left_is_adopted_once_the_engine_answers(flight: Flight, cluster: FakeCluster) -> None:
    cluster.running[ROUND.key] = hang
    cluster.is_down = True
    flight.begin([ROUND])
    flight.reach()
    assert "waiting for the engine" in flight.problem
    assert flight
    cluster.is_down = False
    flight.reach()
    assert flight.problem == ""
    assert flight.of(ROUND.job_id) == (ROUND,)


def test_tasks_of_jobs_that_are_no_more_are_strays(flight: Flight) -> None:
    flight.submit(ROUND, ROUND_STAGE)
    assert flight.strays({ROUND.job_id}) == ()
    assert flight.strays(set()) == (ROUND.key,)
