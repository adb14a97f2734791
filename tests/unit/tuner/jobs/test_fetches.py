"""What is fetched for which jobs, with a clock and processes that tests turn by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tuner.config import Settings
from tuner.importers.fetch_process import Order, Said
from tuner.importers.snapshot import Found
from tuner.importers.source import ModelSource, resolve_source
from tuner.jobs.fetches import AT_ONCE, LEAST_BYTES, MAX_DEATHS, Fetches
from tuner.schemas import ErrorBody

MIB = 2**20
STALL_SEC = 120.0


@dataclass
class FakeChild:
    """A process that says what the test lets it say."""

    order: Order
    said: Said = field(default_factory=Said)
    alive: bool = True
    ended: bool = False

    def end(self) -> None:
        self.ended = True


class Bench:
    def __init__(self, settings: Settings) -> None:
        self.children: list[FakeChild] = []
        self.fetches = Fetches(settings.model_copy(update={"fetch_stall_sec": STALL_SEC}), self._start)
        self.now = 1000.0
        self.wanted: dict[str, ModelSource] = {}

    def _start(self, order: Order) -> FakeChild:
        self.children.append(FakeChild(order))
        return self.children[-1]

    def want(self, job_id: str, model: str, head: str | None = None) -> None:
        self.wanted[job_id] = resolve_source(model, head=head)

    def look(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.fetches.look(self.now, self.wanted)

    def message(self, job_id: str) -> str:
        return self.fetches.message(job_id, self.now)


@pytest.fixture
def bench(settings: Settings) -> Bench:
    return Bench(settings)


def test_jobs_of_one_model_share_one_download(bench: Bench) -> None:
    bench.want("a", "org/model")
    bench.want("b", "org/model", head="sequence-classification")
    bench.look()
    bench.want("c", "org/model")
    bench.look()
    (child,) = bench.children
    child.said = Said(found=Found("src-1", "c0ffee"))
    bench.look()
    assert {bench.fetches.result(job_id) for job_id in "abc"} == {Found("src-1", "c0ffee")}
    bench.want("d", "org/model@v1")
    bench.look()
    assert [child.order.source.revision for child in bench.children] == ["", "v1"]


def test_a_download_goes_on_while_one_job_wants_it_and_ends_with_the_last(bench: Bench) -> None:
    bench.want("a", "org/model")
    bench.want("b", "org/model")
    bench.look()
    del bench.wanted["a"]
    bench.look()
    (child,) = bench.children
    assert not child.ended
    bench.wanted.clear()
    bench.look()
    assert child.ended
    assert not bench.fetches


def test_progress_is_told_in_words_every_few_seconds(bench: Bench) -> None:
    bench.want("a", "org/model")
    bench.look()
    assert bench.message("a") == "downloading org/model"
    bench.children[0].said = Said(done=120 * MIB, total=440 * MIB)
    bench.look()
    assert bench.message("a") == "downloading org/model: 120 of 440 MiB"
    bench.children[0].said = Said(done=121 * MIB, total=440 * MIB)
    bench.look(0.25)
    assert bench.message("a").startswith("downloading org/model: 120")
    bench.look(2.0)
    assert bench.message("a").startswith("downloading org/model: 121")


def test_a_few_run_at_once_and_the_others_say_that_they_wait(bench: Bench) -> None:
    for number in range(AT_ONCE + 1):
        bench.want(f"job-{number}", f"org/model-{number}")
    bench.look()
    assert len(bench.children) == AT_ONCE
    assert bench.message(f"job-{AT_ONCE}") == "waiting for other models to be fetched"
    bench.children[0].said = Said(found=Found("src-1"))
    bench.look()
    assert [child.order.source.location for child in bench.children] == [f"org/model-{n}" for n in range(AT_ONCE + 1)]


def test_a_slow_download_is_not_given_up_however_long_it_takes(bench: Bench) -> None:
    bench.want("a", "org/model")
    bench.look()
    for step in range(100):
        bench.children[0].said = Said(done=step * LEAST_BYTES, total=440 * MIB)
        bench.look(STALL_SEC - 1)
    assert bench.fetches.result("a") is None


@pytest.mark.parametrize("drip", [0, 1, LEAST_BYTES // 200])
def test_one_of_which_nothing_comes_is_given_up(bench: Bench, drip: int) -> None:
    bench.want("a", "org/model")
    bench.look()
    bench.children[0].said = Said(done=40 * MIB, total=440 * MIB)
    bench.look()
    for step in range(1, 125):
        bench.children[0].said = Said(done=40 * MIB + step * drip, total=440 * MIB)
        bench.look()
    error = bench.fetches.result("a")
    assert isinstance(error, ErrorBody)
    assert (error.code, bench.children[0].ended) == ("model_unreachable", True)
    assert "within 120 s; 40 of 440 MiB" in error.message


def test_one_that_takes_too_long_is_given_up_however_steadily_it_comes(bench: Bench, settings: Settings) -> None:
    bench.want("a", "org/model")
    bench.look()
    steps = int(settings.fetch_timeout_sec / 100)
    for step in range(steps + 2):
        bench.children[0].said = Said(done=step * LEAST_BYTES, total=440 * MIB)
        bench.look(100.0)
    error = bench.fetches.result("a")
    assert isinstance(error, ErrorBody)
    assert (error.code, bench.children[0].ended) == ("model_unreachable", True)
    assert "TUNER_FETCH_TIMEOUT_SEC" in error.message


def test_a_process_is_told_the_bounds_of_the_settings(bench: Bench, settings: Settings) -> None:
    bench.want("a", "org/model")
    bench.look()
    order = bench.children[0].order
    assert (order.most_bytes, order.least_free_bytes) == (settings.max_model_bytes, settings.min_free_bytes)
    assert order.root == settings.sources_dir


def test_a_process_that_dies_is_started_again_a_few_times(bench: Bench) -> None:
    bench.want("a", "org/model")
    bench.look()
    for death in range(MAX_DEATHS):
        assert len(bench.children) == death + 1
        bench.children[-1].alive = False
        bench.look()
        bench.look(60)
    error = bench.fetches.result("a")
    assert isinstance(error, ErrorBody)
    assert (error.code, len(bench.children)) == ("stage_failed", MAX_DEATHS)


def test_a_process_that_can_not_be_started_is_tried_again(bench: Bench, settings: Settings) -> None:
    starts: list[Order] = []

    def start(order: Order) -> FakeChild:
        starts.append(order)
        if len(starts) == 1:
            raise BlockingIOError("no more processes")
        return FakeChild(order)

    bench.fetches = Fetches(settings, start)
    bench.want("a", "org/model")
    bench.look()
    assert bench.message("a") == "waiting to fetch the model's files again"
    bench.look(60)
    assert (len(starts), bench.fetches.result("a")) == (2, None)


def test_what_a_process_said_last_counts_though_it_is_gone(bench: Bench) -> None:
    bench.want("a", "org/model")
    bench.look()
    refused = ErrorBody(code="model_unknown", message="no such model")
    bench.children[0].alive, bench.children[0].said = False, Said(error=refused)
    bench.look()
    assert bench.fetches.result("a") == refused


def test_without_room_on_the_disk_it_waits_and_is_tried_again(bench: Bench) -> None:
    bench.want("a", "org/model")
    bench.look()
    full = ErrorBody(code="storage_full", message="440 MiB are wanted.", hint="Free some.")
    bench.children[0].alive, bench.children[0].said = False, Said(error=full)
    bench.look()
    assert bench.message("a") == "waiting for room on the disk: 440 MiB are wanted. Free some."
    assert bench.fetches.result("a") is None
    bench.look(60)
    assert len(bench.children) == 2
