"""Who is the faster: the tuned module or PyTorch. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import comb
from statistics import median

from tuner.schemas import BenchmarkOut

PYTORCH = ("torch-eager", "torch-sdpa", "torch-compile")  # what a module must beat: PyTorch in float32
SIGNIFICANT = 0.05  # how often a difference may be called one by chance
_NARROW = 0.05  # of a median: how far apart the fastest and the slowest round may be where a few are enough


def fastest_pytorch(benchmarks: Sequence[BenchmarkOut]) -> BenchmarkOut | None:
    """PyTorch's fastest variant by its median; None where PyTorch was not timed."""
    return min((b for b in benchmarks if b.variant in PYTORCH), key=lambda b: b.median_ms, default=None)


def is_undecided(benchmarks: Sequence[BenchmarkOut]) -> bool:
    """May the difference between the tuned module and PyTorch's fastest be chance? Then neither is the faster."""
    tuned = next((b for b in benchmarks if b.variant == "tuned"), None)
    torch = fastest_pytorch(benchmarks)
    if tuned is None or torch is None:
        return False
    if not tuned.rounds_ms or len(tuned.rounds_ms) != len(torch.rounds_ms):  # of a release that kept no rounds
        return tuned.p10_ms <= torch.p90_ms and torch.p10_ms <= tuned.p90_ms
    return chance(tuned.rounds_ms, torch.rounds_ms) > SIGNIFICANT


def settled(rounds_ms: Mapping[str, Sequence[float]], wanted: Collection[str]) -> bool:
    """Would more rounds than these change nothing that is said of the contestants that are ``wanted``?

    Each of them was ahead of, or behind, each other one in too many rounds for chance, and its rounds differ by little.
    Who was there in fewer rounds is far behind: ``tuner.bench.compare``. Six rounds that all agree are 3 % of what
    chance makes; asked once at six, and again at the end if they don't, a difference is called one by chance in 4.3 %
    of comparisons of ten rounds.
    """
    for name in wanted:
        mine = rounds_ms[name]
        if max(mine) - min(mine) > _NARROW * median(mine):
            return False
        rivals = (other for other, theirs in rounds_ms.items() if other != name and len(theirs) == len(mine))
        if any(chance(mine, rounds_ms[rival]) > SIGNIFICANT for rival in rivals):
            return False
    return True


def chance(one: Sequence[float], other: Sequence[float]) -> float:
    """How likely rounds as uneven as these are if neither is the faster, 0..1: the two-sided sign test.

    ``one`` and ``other`` are timed side by side in each round, so that what slows the machine down slows both, and only
    who was ahead counts. Fewer than six rounds are never below `SIGNIFICANT`.
    """
    ahead = sum(mine < theirs for mine, theirs in zip(one, other, strict=True))
    behind = sum(mine > theirs for mine, theirs in zip(one, other, strict=True))
    rounds = ahead + behind
    tail = sum(comb(rounds, n) for n in range(min(ahead, behind) + 1))
    return min(1.0, 2 * tail / 2**rounds)
