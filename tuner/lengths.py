"""How long a user's texts are, and what that means for kernels: at which sizes they are timed, and what each counts.

A kernel over texts has no one latency. It is timed at a few ``POINTS``; between them time grows as a line does, so each
call of a profile counts at the two points beside it. What is summed is the expected time a text takes.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

from tuner.errors import InvalidInput

POINTS = (1, 8, 32, 128, 512)  # rows, texts, or tokens of one text
NOMINAL = 32  # tokens of the text for which a workload's arithmetic and traffic are counted
MIX = "mix"  # the word for the default mix
UNKNOWN_LONGEST = 512  # tokens, of a model that does not say what it takes
MOST_TOKENS = 2048  # of one run: more texts are several, which costs no time and bounds the memory
_KEPT = 256  # lengths that stand for all
BATCHES = (1, 8)  # texts that are given at a time: each way counts as much as the other, in benchmarks as well
_MEDIAN, _MEAN = 30, 38  # of the default mix, log-normal


class HasLengths(Protocol):
    """A job: a sample of its texts' lengths, sorted, or nothing."""

    lengths: list[int] | None


@dataclass(frozen=True)
class Weights:
    """How much each of ``POINTS`` counts in the expected time of a text: of kernels over all tokens, over texts, and of
    those that take each text by itself."""

    tokens: tuple[float, ...]
    texts: tuple[float, ...]
    text: tuple[float, ...]


@dataclass(frozen=True)
class Lengths:
    """Texts' lengths in tokens, as users have them: a sample, sorted."""

    sample: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Tokens of a text."""
        return sum(self.sample) / len(self.sample)

    def batches(self, texts: int) -> Iterator[list[int]]:
        """The sample in batches of so many texts, in one fixed random order."""
        order = list(self.sample)
        random.Random(0).shuffle(order)
        for first in range(0, len(order), texts):
            yield order[first : first + texts]

    def few(self, count: int) -> Lengths:
        """So many texts that stand for all, as long on average: the means of as many parts of the sample."""
        size = len(self.sample)
        ends = [(n * size // count, (n + 1) * size // count) for n in range(count)]
        parts = [self.sample[first : max(last, first + 1)] for first, last in ends]
        return Lengths(tuple(round(sum(part) / len(part)) for part in parts))

    def weights(self) -> Weights:
        """Each way to give texts counts as much as the others."""
        tokens, texts, text = ([0.0] * len(POINTS) for _ in range(3))
        for size in BATCHES:
            share = 1.0 / len(BATCHES) / len(self.sample)
            for batch in self.batches(size):
                for run in runs(batch):
                    _add(tokens, sum(run), share)
                    _add(texts, len(run), share)
        for length in self.sample:
            _add(text, length, 1.0 / len(self.sample))
        return Weights(tuple(tokens), tuple(texts), tuple(text))


def weights_of(job: HasLengths) -> Weights | None:
    """Of a job for texts; None for one at a fixed shape."""
    return Lengths(tuple(job.lengths)).weights() if job.lengths else None


def flops_of_text(nominal_flops: float, name: str, summary: str, lengths: Sequence[int] | None) -> float:
    """Expected operations of a workload of a job for texts: those of a text of ``NOMINAL`` tokens, scaled to the
    profile; of a job for one shape (no lengths) as they are."""
    if not lengths or "[tokens," not in summary.rpartition("->")[2]:
        return nominal_flops
    power = 2 if name == "attention" else 1
    return nominal_flops * sum((length / NOMINAL) ** power for length in lengths) / len(lengths)


def runs(lengths: Sequence[int], most: int = MOST_TOKENS) -> list[list[int]]:
    """A batch cut into runs of at most ``most`` tokens; a text is never cut."""
    found: list[list[int]] = [[]]
    for length in lengths:
        if found[-1] and sum(found[-1]) + length > most:
            found.append([])
        found[-1].append(length)
    return found


def of_texts(lengths: Sequence[int], longest: int) -> Lengths:
    """The profile of a user's own texts; those beyond the longest that the model takes count as that.

    Raises InvalidInput when there are none.
    """
    if not lengths:
        raise InvalidInput("There is no text to take lengths from.", "Give a file with a text in each line.")
    kept = sorted(max(1, min(length, longest)) for length in lengths)
    if len(kept) > _KEPT:
        kept = [kept[int((n + 0.5) * len(kept) / _KEPT)] for n in range(_KEPT)]
    return Lengths(tuple(kept))


def of_range(text: str, longest: int) -> Lengths:
    """The profile of ``SHORTEST:LONGEST``, each length as likely as any other. Raises InvalidInput."""
    first, colon, last = text.partition(":")
    if not colon or not first.isdecimal() or not last.isdecimal() or not 1 <= int(first) <= int(last):
        raise InvalidInput(f"{text!r} is no range of lengths.", "Write the shortest and the longest: --lengths 4:256.")
    if int(last) > longest:
        raise InvalidInput(
            f"The model takes at most {longest} tokens, not {last}.", f"Use --lengths {first}:{longest}."
        )
    return of_texts([int(first) + n * (int(last) - int(first)) // (_KEPT - 1) for n in range(_KEPT)], longest)


def default_mix(longest: int) -> Lengths:
    """Sentences and short paragraphs: log-normal lengths with a median of 30 tokens and a mean of about 38."""
    spread = math.sqrt(2 * math.log(_MEAN / _MEDIAN))
    normal = NormalDist(math.log(_MEDIAN), spread)
    return of_texts([round(math.exp(normal.inv_cdf((n + 0.5) / _KEPT))) for n in range(_KEPT)], longest)


def _add(weights: list[float], size: int, share: float) -> None:
    """Count a call of this size at the points beside it; beyond the last, as a multiple of that."""
    if size >= POINTS[-1]:
        weights[-1] += share * size / POINTS[-1]
        return
    above = bisect_left(POINTS, size)
    if POINTS[above] == size:
        weights[above] += share
        return
    part = (size - POINTS[above - 1]) / (POINTS[above] - POINTS[above - 1])
    weights[above - 1] += share * (1 - part)
    weights[above] += share * part
