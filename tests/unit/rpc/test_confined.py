"""A process beside this one takes whatever happens to it, and the next question finds a whole one."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from rpc.confined import Confined, Died, Failed, Overdue
from tests.support.processes import is_running, kill_hard, wait_until, within

ENOUGH_SEC = 60.0
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process is refused memory")


@pytest.fixture(scope="module")
def process() -> Iterator[Confined]:
    confined = Confined("tests.support.confined_answers", 512 * 2**20)
    yield confined
    confined.close()


def test_it_answers_and_stays(process: Confined) -> None:
    first, second = (process.ask(("pid", 0), ENOUGH_SEC) for _ in range(2))
    assert first == second


def test_a_question_it_can_not_answer_is_told_in_a_line_and_costs_it_nothing(process: Confined) -> None:
    pid = process.ask(("pid", 0), ENOUGH_SEC)
    with pytest.raises(Failed, match=r"^ValueError: and why$") as caught:
        process.ask(("fail", 0), ENOUGH_SEC)
    assert not isinstance(caught.value, Died)
    assert process.ask(("pid", 0), ENOUGH_SEC) == pid


def test_a_question_that_kills_it_is_told_and_the_next_is_answered(process: Confined) -> None:
    with pytest.raises(Died, match="SIGSEGV"):
        process.ask(("die", signal.SIGSEGV), ENOUGH_SEC)
    assert process.ask(("say", 3), ENOUGH_SEC) == 3


def test_it_is_replaced_when_somebody_killed_it_between_two_questions(process: Confined) -> None:
    pid = process.ask(("pid", 0), ENOUGH_SEC)
    kill_hard(pid)
    wait_until(lambda: not is_running(pid), 5, "its end")
    assert process.ask(("pid", 0), ENOUGH_SEC) != pid


@pytest.mark.parametrize(("word", "computes"), [("spin", True), ("hang", False), ("stop", False)])
def test_it_is_ended_at_the_deadline_whatever_it_does(process: Confined, word: str, computes: bool) -> None:
    for timeout_sec in (0.3, 3.0, 30.0):  # of a crowded machine it may get nothing for a while
        process.ask(("say", 0), ENOUGH_SEC)
        with within(timeout_sec + 5), pytest.raises(Overdue, match=rf"more than {timeout_sec:g} s") as caught:
            process.ask((word, 0), timeout_sec)
        if caught.value.cpu_sec > 0 or not computes:
            break
    assert caught.value.cpu_sec > 0 if computes else caught.value.cpu_sec < 0.2


@linux_only
def test_what_wants_more_memory_than_it_may_have_ends_and_takes_nobody_along(process: Confined) -> None:
    with pytest.raises(Died, match="more than 512 MiB of memory"):
        process.ask(("eat", 20 * 1024), ENOUGH_SEC)
    assert process.ask(("eat", 10), ENOUGH_SEC) == 10 * 2**20


def test_it_is_told_no_secret(process: Confined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    process.close()
    assert "HF_TOKEN" not in process.ask(("environment", 0), ENOUGH_SEC)


def test_a_module_that_is_not_there_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match=r"tests\.support\.absent did not come up"):
        Confined("tests.support.absent", 2**29).ask(0, ENOUGH_SEC)


def test_closed_it_leaves_no_process() -> None:
    confined = Confined("tests.support.confined_answers", 2**29)
    pid = confined.ask(("pid", 0), ENOUGH_SEC)
    confined.close()
    assert not is_running(pid)
