"""Choices in the order in which they are measured: the most promising first, then those around the best. No TVM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from random import Random
from typing import Any

_GUIDED = 0.5  # part of a batch that goes to neighbours of the best
_PARENTS = 3
_FAVOURED = 6
_GIVE_UP = 24  # choices in a row without a better one end the search


class Guided:
    """``next`` hands a choice out once; ``tell`` gives its seconds, None where it failed. Choices are dataclasses.

    ``by_chance`` shuffles them: then nothing is favoured, and nothing learned.
    """

    def __init__(self, choices: Sequence[Any], by_chance: Random | None = None) -> None:
        self._waiting = list(choices)
        self._is_guided = by_chance is None
        if by_chance is not None:
            by_chance.shuffle(self._waiting)
        self._seconds: dict[Any, float] = {}
        self._fruitless = 0

    def favour(self, choices: Iterable[Any]) -> None:
        """Hand out a few of these, the first ones that there are here, before all others."""
        if not self._is_guided:
            return
        first = [choice for choice in dict.fromkeys(choices) if choice in self._waiting][:_FAVOURED]
        self._waiting = [*first, *(choice for choice in self._waiting if choice not in first)]

    @property
    def exhausted(self) -> bool:
        """Is nothing left that is worth a measurement?"""
        return not self._waiting or self._fruitless >= _GIVE_UP

    def next(self, count: int) -> Iterator[Any]:
        """Up to ``count`` choices, neighbours of the best and promising ones in turn."""
        guided = iter(self._neighbours())
        for index in range(count):
            if self.exhausted:
                return
            choice = next(guided, None) if index < count * _GUIDED else None
            choice = choice or self._waiting[0]
            self._waiting.remove(choice)
            yield choice

    def tell(self, choice: Any, seconds: float | None) -> None:
        """What measuring a choice brought."""
        best = min(self._seconds.values(), default=float("inf"))
        if choice in self._waiting:
            self._waiting.remove(choice)
        if seconds is not None:
            self._seconds[choice] = seconds
        self._fruitless = 0 if seconds is not None and seconds < best else self._fruitless + 1

    def _neighbours(self) -> list[Any]:
        """Those that differ from one of the best in a single number."""
        parents = sorted(self._seconds, key=self._seconds.__getitem__)[: _PARENTS if self._is_guided else 0]
        near = [other for parent in parents for other in self._waiting if _differ_once(parent, other)]
        return list(dict.fromkeys(near))


def _differ_once(one: Any, other: Any) -> bool:
    return type(one) is type(other) and sum(a != b for a, b in zip(astuple(one), astuple(other), strict=True)) == 1
