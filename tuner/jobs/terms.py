"""What of a model a job tunes, and how it takes times: what was asked for, or what is usual. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuner.errors import InvalidInput
from tuner.measuring.repeats import Repeats
from tuner.schemas import JobIn, JobOut
from tuner.schemas.common import Strategy

if TYPE_CHECKING:  # the command line, which tells terms, loads no database
    from tuner.db.models import Job

ROUNDS = 10  # of a comparison; six may be enough: tuner.bench.rivals
_LONGEST_MS = 5000  # of all repeats of one candidate: a round of them has its deadline
_OF_TUNING = ("only", "skip", "repeat", "min_repeat_ms", "rounds", "strategy", "timeout_sec")

_STRATEGIES: dict[Strategy, str] = {
    "auto": "",
    "tiles": "searched by tiles alone",
    "evolution": "searched by evolution alone",
    "random": "searched at random",
}


def check_terms(wish: JobIn) -> None:
    """Raise InvalidInput for times that would take too long, or what a job that only compiles does not do."""
    asked = [name for name in _OF_TUNING if getattr(wish, name) not in (None, [], "auto")]
    if asked and wish.compile_only:
        raise InvalidInput("A job that only compiles tunes and times nothing.", f"Leave out {' and '.join(asked)}.")
    found = Repeats.of(wish.repeat, wish.min_repeat_ms)
    if found.count * found.min_ms > _LONGEST_MS:
        raise InvalidInput(
            f"{found.count} repeats of {found.min_ms} ms are too long for each candidate.",
            f"Let them take {_LONGEST_MS:,} ms together at most.",
        )


def rounds_of(job: Job) -> int:
    """Rounds of the comparison."""
    return ROUNDS if job.rounds is None else job.rounds


def told(job: Job) -> dict[str, Any]:
    """As a manifest keeps them."""
    repeats = Repeats.of(job.repeat, job.min_repeat_ms)
    times = {"repeat": repeats.count, "min_repeat_ms": repeats.min_ms, "rounds": rounds_of(job)}
    return {"only": job.only, "skip": job.skip, "strategy": job.strategy, "timeout_sec": job.timeout_sec, **times}


def in_words(job: JobOut) -> str:
    """What is not as usual: ``only matmul*, 10 repeats, of 300 ms at least, 20 rounds``; empty: all is."""
    parts = [
        f"only {' '.join(job.only)}" if job.only else "",
        f"without {' '.join(job.skip)}" if job.skip else "",
        f"{job.repeat} repeat{'s' if job.repeat > 1 else ''}" if job.repeat is not None else "",
        f"of {job.min_repeat_ms} ms at least" if job.min_repeat_ms is not None else "",
        f"{job.rounds} rounds" if job.rounds is not None else "",
        _STRATEGIES[job.strategy],
        f"{job.timeout_sec} s at most for a candidate" if job.timeout_sec is not None else "",
    ]
    return ", ".join(filter(None, parts))
