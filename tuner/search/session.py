"""The search of one workload on one target: what it knows, what it would try next."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from statistics import median
from typing import Any

import tvm

from tuner.kernels import copies, rowwise, written
from tuner.kernels.context import NO_SCHEDULE, Replay, built_arguments, candidate_id, module_id
from tuner.kernels.extents import Shapes, is_symbolic, nominal, points, shapes
from tuner.kernels.space import space_for
from tuner.kernels.tiles import Tile
from tuner.kernels.workload import module_from_json, workload_id
from tuner.lengths import Weights
from tuner.schemas.common import Strategy
from tuner.search.evolution import Evolution
from tuner.search.guided import Guided
from tuner.search.tiled import TiledSearch
from tuner.search.transfer import Relative

log = logging.getLogger(__name__)

_LESSONS = 64  # measured candidates kept for a cost model that may never be asked; each holds its whole module
_EMPTY_SEARCHES = 3  # searches in a row that may bring nothing new before the space counts as exhausted


@dataclass(frozen=True)
class Proposal:
    """A candidate that was never tried: id, module JSON to build, the trace as record JSON, built arguments.

    ``tile`` is set when it is a register tile of a product, ``evolved`` when evolution made it; a seed is neither.
    """

    id: str
    tir: str
    trace: str
    arguments: Shapes
    candidate: Any
    tile: Tile | None = None
    evolved: bool = False
    points: Sequence[tuple[Shapes, float]] = ()  # with what it is timed where extents are known only when it runs
    choice: Any = None  # by which it is written, where it is
    tir_to_check: str = ""


class SearchSession:
    """Searches one workload: seeds first, then row-wise kernels and transpositions by their few schedules, products by
    what a library of the target's makes of them, by register tiles and then, like all else, by evolution.

    By the strategy ``tiles`` without evolution, by ``evolution`` with seeds and it alone, by ``random`` in no order and
    with nothing learned. A kernel that is written out has its choices by each of them.
    """

    def __init__(
        self,
        tir: str,
        target: Any,
        cost_model: Any,
        batch: int,
        threads: int,
        seed: int,
        weights: Weights | None = None,
        strategy: Strategy = "auto",
    ) -> None:
        """``weights`` say how much each size counts, where extents are known only when the kernel runs."""
        self.mod = module_from_json(tir)
        self._weights = weights
        self._writer = written.writer_for(self.mod, target)
        by_chance = random.Random(seed) if strategy == "random" else None
        self._choices = Guided(self._writer.choices, by_chance) if self._writer else None
        self._beside = written.beside(self.mod, target) if self._writer is None and strategy != "evolution" else None
        self._replay = Replay(self.mod, target, space_for(target))
        has_spaces = self._writer is None and strategy != "evolution"
        self._tiled = TiledSearch(self.mod, target, has_spaces, by_chance)
        few = rowwise.schedules(self.mod, target) or copies.schedules(self.mod, target) if has_spaces else []
        self._rows = [self._replay.post_process(schedule) for schedule in few]
        self._make_evolution: Callable[[], Evolution] = lambda: Evolution(
            self.mod, target, cost_model, batch, threads, seed, at_random=by_chance is not None
        )
        self._sources = self._sources_of(strategy)
        self._lessons: deque[tuple[Any, list[float] | None]] = deque(maxlen=_LESSONS)
        self._ancestors: list[tuple[str, list[float]]] = []
        self._seeds: deque[str] = deque()
        self._known: set[str] = set()
        self._seconds: dict[str, float] = {}
        self._proposed_all = False

    def _sources_of(self, strategy: Strategy) -> list[Callable[[int], Iterator[Proposal]]]:
        """Where proposals come from, in this order."""
        known, own, evolved = self._propose_seeds, [self._propose_rows, self._propose_product], self._propose_evolved
        match strategy:
            case "tiles":
                return [known, *own]
            case "evolution":
                return [known, evolved]
            case "random":
                return [*own, evolved]
        return [known, *own, evolved]

    @property
    def is_exhausted(self) -> bool:
        """Is nothing left to propose? Choices and rows know it with their last proposal, all else once it was asked in
        vain."""
        if self._choices is not None:
            return self._choices.exhausted
        if self._rows and not self._seeds:
            return all(row is None or candidate_id(row) in self._known for row in self._rows)
        return self._proposed_all

    @property
    def is_product(self) -> bool:
        """Is it searched by register tiles first, of which other products may know good ones?"""
        return self._tiled.is_product

    def avoid(self, candidates: Iterable[str]) -> None:
        """Never propose these ids, whoever tried them."""
        self._known.update(candidates)

    def learn(self, records: Iterable[tuple[str, str, list[float]]]) -> None:
        """Take in records of earlier rounds, fastest first: candidate id, record JSON, run seconds.

        A kernel that is written out goes on where its records leave off, be they only the best of what was tried: as
        many of them without a better one end its search as if they were measured now.
        """
        found = [(name, trace, secs) for name, trace, secs in records if secs]
        self._seconds |= {name: median(secs) for name, _, secs in found}
        if self._writer is None or self._choices is None:
            self._ancestors.extend((trace, secs) for _, trace, secs in found if not written.is_choice(trace))
            return
        there = set(self._writer.choices)
        for _, trace, secs in found:
            choice = written.from_json(trace) if written.is_choice(trace) else None
            if choice in there:
                self._choices.tell(choice, median(secs))

    def suggest(self, traces: Iterable[str]) -> None:
        """Candidates from elsewhere, as record JSON, to be measured before all others."""
        self._seeds.extend(traces)

    @property
    def is_written(self) -> bool:
        """Is it written out by choices, of which other kernels may know good ones?"""
        return self._choices is not None

    def favour(self, traces: Iterable[str]) -> None:
        """Begin with the choices among these that there are here, best ones of other kernels: attention over texts
        and over sequences of one length is written alike, and so are products of other widths."""
        if self._choices is not None:
            found = (written.from_json(trace) for trace in traces if written.is_choice(trace))
            self._choices.favour(choice for choice in found if choice is not None)

    def follow(self, relatives: Sequence[Relative]) -> None:
        """Other products that were searched on this target: where this one is a product, their tiles are its first."""
        self._tiled.follow(relatives)

    def propose(self, count: int) -> Iterator[Proposal]:
        """Up to ``count`` candidates never tried before, most promising first; none when the space is exhausted.

        Each comes as soon as it is made, so that it can be built while the next one is.
        """
        if self._writer is not None:
            yield from self._propose_written(self._writer, count)
            return
        for source in self._sources:
            proposals = source(count)
            if first := next(proposals, None):
                yield first
                yield from proposals
                return
        self._proposed_all = True

    def tell(self, results: list[tuple[Proposal, list[float] | None]]) -> None:
        """What measuring brought: run seconds, or None where the candidate failed."""
        if evolved := [(proposal.candidate, secs) for proposal, secs in results if proposal.evolved]:
            self._evolution.tell(evolved)
        self._lessons.extend((p.candidate, secs) for p, secs in results if p.candidate is not None)
        for proposal, secs in results:
            if self._choices is not None and proposal.choice is not None:
                self._choices.tell(proposal.choice, median(secs) if secs else None)
            if proposal.tile is not None:
                self._tiled.tell(proposal.tile, median(secs) if secs else None)

    def _propose_written(self, writer: written.Writer, count: int) -> Iterator[Proposal]:
        assert self._choices is not None
        while count and not self._choices.exhausted:
            for choice in self._choices.next(count):
                if isinstance(made := self._written(writer, choice), Proposal):
                    count -= 1
                    yield made
                else:
                    self._choices.tell(choice, self._seconds.get(made))

    def _propose_product(self, count: int) -> Iterator[Proposal]:
        """By a library, then by tiles."""
        if count and self._beside is not None:
            for choice in self._beside.choices[:count]:
                if isinstance(made := self._written(self._beside, choice), Proposal):
                    count -= 1
                    yield made
        yield from self._propose_tiles(count)

    def _written(self, writer: written.Writer, choice: Any) -> Proposal | str:
        """The kernel by a choice; its name where it was tried."""
        mod = writer.module(choice)
        name = module_id(mod)
        if name in self._known:
            return name
        self._known.add(name)
        to_check = str(tvm.ir.save_json(writer.module_to_check(choice))) if writer.write_unpacked else ""
        tir, function = str(tvm.ir.save_json(mod)), mod["main"]
        timed = points(function, self._weights) if self._weights and is_symbolic(function) else ()
        arguments, trace = shapes(function, nominal(function)), written.to_json(choice)
        return Proposal(name, tir, trace, arguments, None, points=timed, choice=choice, tir_to_check=to_check)

    def _propose_seeds(self, count: int) -> Iterator[Proposal]:
        seeds = (self._replay.schedule(self._seeds.popleft()) for _ in range(len(self._seeds)))
        return self._propose_new(seeds, count)

    def _propose_rows(self, count: int) -> Iterator[Proposal]:
        return self._propose_new(self._rows, count)

    def _propose_new(self, schedules: Iterable[Any], count: int) -> Iterator[Proposal]:
        """The first of these that were never tried, each made when it is asked for."""
        fresh = (
            self._proposal(name, self._replay.candidate(schedule))
            for schedule in schedules
            if schedule is not None and (name := candidate_id(schedule)) not in self._known
        )
        return islice(fresh, count)

    def _propose_tiles(self, count: int) -> Iterator[Proposal]:
        while count and not self._tiled.exhausted:
            for tile in self._tiled.next(count):
                schedule = self._tiled.schedule(tile)
                if schedule is None or self._replay.post_process(schedule) is None:
                    self._tiled.tell(tile, None)
                    continue
                name = candidate_id(schedule)
                if name in self._known:
                    self._tiled.tell(tile, self._seconds.get(name))
                else:
                    count -= 1
                    yield self._proposal(name, self._replay.candidate(schedule), tile)

    @cached_property
    def _evolution(self) -> Evolution:
        """Made when tiles are not enough: its design space takes seconds, and many a product never needs it."""
        evolution = self._make_evolution()
        evolution.seed(self._ancestors)
        replayed = [(self._replay.schedule(trace), secs) for trace, secs in self._ancestors[:_LESSONS]]
        self._lessons.extend((self._replay.candidate(sch), secs) for sch, secs in replayed if sch is not None)
        return evolution

    def _propose_evolved(self, count: int) -> Iterator[Proposal]:
        if self._rows:  # it finds nothing as good, and takes seconds
            return
        try:
            evolution = self._evolution
        except NO_SCHEDULE as failure:
            log.warning("%s has no sketches, TVM fails at them: %s", workload_id(self.mod), failure)
            return
        evolution.fit(self._lessons)
        self._lessons.clear()
        for _ in range(_EMPTY_SEARCHES):
            found = evolution.next()
            names = [candidate_id(candidate.sch) for candidate in found]
            fresh = [n for n, name in enumerate(names) if name not in self._known and name not in names[:n]][:count]
            evolution.skip([candidate for n, candidate in enumerate(found) if n not in fresh])
            for n in fresh:
                yield self._proposal(names[n], found[n], evolved=True)
            if fresh:
                return

    def _proposal(self, name: str, candidate: Any, tile: Tile | None = None, evolved: bool = False) -> Proposal:
        self._known.add(name)
        return Proposal(
            name,
            str(tvm.ir.save_json(candidate.sch.mod)),
            self._replay.trace_json(candidate),
            built_arguments(candidate.sch.mod),
            candidate,
            tile,
            evolved,
        )
