"""A process is judged by its answers, and not by one alone."""

from __future__ import annotations

import threading

from rpc.checkup import Checkup
from tests.support.processes import wait_until


def test_one_answer_that_came_too_late_is_no_reason_to_end_a_process() -> None:
    answers = [False, True, False, False, None]
    is_unwell: list[bool] = []  # before each of them, and at the end
    is_made = threading.Event()

    def healthy() -> bool | None:
        is_unwell.append(checkup.unwell_sec > 0)
        return answers[len(is_unwell) - 1] if len(is_unwell) <= len(answers) else True

    checkup = Checkup("device", is_made.is_set, healthy, every_sec=0.01)
    is_made.set()
    wait_until(lambda: len(is_unwell) > len(answers), 5, "all the answers")
    checkup.end()
    assert is_unwell[: len(answers) + 1] == [False, False, False, False, True, False]
