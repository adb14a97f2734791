"""Which of a model's kernels a job tunes, by names in which * and ? stand for others. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tuner.errors import InvalidInput


@dataclass(frozen=True)
class Choice:
    """``only`` these (none given: all), but not those to ``skip``; by name or id, as a job's table shows them."""

    only: Sequence[str] = ()
    skip: Sequence[str] = ()

    def leaves_out(self, name: str, workload_id: str) -> bool:
        """Is this kernel compiled from what is known of it, or guessed, rather than tuned?"""
        called = (name, workload_id)
        return (bool(self.only) and not _is_named(called, self.only)) or _is_named(called, self.skip)

    def check(self, model: str, kernels: Collection[tuple[str, str]]) -> None:
        """Raise InvalidInput for a pattern that names none of the model's kernels (name and id of each), or if none is
        left to tune."""
        there = ", ".join(dict.fromkeys(name for name, _ in kernels))
        for pattern in (*self.only, *self.skip):
            if not any(_is_named(called, [pattern]) for called in kernels):
                raise InvalidInput(f"No kernel of {model} is called {pattern}.", f"There are {there}.")
        if all(self.leaves_out(*called) for called in kernels):
            raise InvalidInput(
                f"No kernel of {model} is left to tune.", f"There are {there}; to tune none of them, only compile."
            )


ALL = Choice()


def _is_named(called: tuple[str, str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(one, pattern) for one in called for pattern in patterns)
