from __future__ import annotations

import anyio
import pytest

from api.turns import Turns
from tuner.errors import Busy


def test_turns_are_had_in_order_and_no_more_at_once_than_there_are() -> None:
    order: list[int] = []
    at_once = 0

    async def main() -> None:
        turns = Turns("imports", at_once=1)

        async def one(number: int) -> None:
            nonlocal at_once
            async with turns.turn():
                at_once += 1
                assert at_once == 1
                order.append(number)
                await anyio.sleep(0)
                at_once -= 1

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(one, number)

    anyio.run(main)
    assert order == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("most_waiting", "wait_sec"), [(0, 60.0), (9, 0.01)])
def test_who_would_wait_too_long_is_told_when_to_come_again(most_waiting: int, wait_sec: float) -> None:
    async def main() -> None:
        turns = Turns("imports", 1, most_waiting, wait_sec)
        async with turns.turn():
            with pytest.raises(Busy, match="too many imports"):
                async with turns.turn():
                    pass
        async with turns.turn():  # the turn that was not had is nobody's
            pass

    anyio.run(main)


def test_a_turn_that_failed_is_over() -> None:
    async def main() -> None:
        turns = Turns("imports", at_once=1, wait_sec=0.01)
        for _ in range(2):
            with pytest.raises(LookupError):
                async with turns.turn():
                    raise LookupError

    anyio.run(main)
