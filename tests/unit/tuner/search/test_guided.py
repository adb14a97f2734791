"""The order in which choices are measured."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from random import Random

from tuner.search.guided import Guided


@dataclass(frozen=True)
class Choice:
    rows: int
    vectors: int


CHOICES = [Choice(*pair) for pair in product(range(8), range(8))]


def time_of(choice: Choice) -> float:
    return 1.0 + abs(choice.rows - 5) + abs(choice.vectors - 3)


def test_the_best_is_found_around_the_better_ones() -> None:
    search, measured = Guided(CHOICES), list[Choice]()
    while not search.exhausted and Choice(5, 3) not in measured:
        for choice in search.next(8):
            measured.append(choice)
            search.tell(choice, time_of(choice))
    assert Choice(5, 3) in measured
    assert len(measured) < len(CHOICES)


def test_nothing_is_handed_out_twice() -> None:
    search = Guided(CHOICES)
    found = list(search.next(16))
    assert len(set(found)) == 16
    for choice in found:
        search.tell(choice, time_of(choice))
    assert not {*found} & {*search.next(16)}


def test_it_ends_when_nothing_better_comes() -> None:
    search, count = Guided([Choice(n, 0) for n in range(1000)]), 0
    while not search.exhausted:
        for choice in search.next(4):
            search.tell(choice, 1.0)
            count += 1
    assert 20 < count < 40


def test_by_chance_nothing_is_favoured_and_nothing_learned() -> None:
    one, other = (Guided(CHOICES, Random(1)) for _ in range(2))
    one.favour(CHOICES[60:])
    orders = []
    for search, sign in ((one, 1.0), (other, -1.0)):
        order = []
        for _ in range(4):
            for choice in list(search.next(8)):
                order.append(choice)
                search.tell(choice, 100.0 + sign * time_of(choice))
        orders.append(order)
    assert orders[0] == orders[1]
    assert orders[0] != CHOICES[:32]


def test_those_that_fail_are_no_guides() -> None:
    search = Guided(CHOICES)
    first, second = search.next(2)
    search.tell(first, None)
    search.tell(second, None)
    assert list(search.next(2)) == CHOICES[2:4]


def test_what_was_best_elsewhere_is_measured_first_where_there_is_such_a_choice() -> None:
    search = Guided(CHOICES)
    search.favour([Choice(9, 9), Choice(7, 7), Choice(4, 4), Choice(7, 7)])
    assert list(search.next(4)) == [Choice(7, 7), Choice(4, 4), Choice(0, 0), Choice(0, 1)]


def test_few_of_another_kernels_choices_are_taken_over() -> None:
    search = Guided(CHOICES)
    search.favour(reversed(CHOICES))
    assert list(search.next(7)) == [*CHOICES[:-7:-1], CHOICES[0]]
