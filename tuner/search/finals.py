"""The last measurement before compiling: the best few records of each workload, again, side by side.

The best of hundreds of noisy measurements is partly luck; a second, interleaved look picks the one that is really
fastest, and tells what it will take. A kernel that search could not improve keeps its plain schedule, or, on a GPU, the
fastest of the ready-made ones; one that has no record, the first guess if that is faster. What the winner computes is
checked here, unless search has done it: it was the best of its round, most often, but may come from another machine's
log, or from a round that was killed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import tvm

from tuner.db.models import Record
from tuner.kernels.context import built_arguments, make_target
from tuner.kernels.extents import is_symbolic, nominal, points, shapes
from tuner.kernels.workload import ExtractedWorkload, module_from_json
from tuner.lengths import Weights
from tuner.measuring.build_process import BuildJob
from tuner.measuring.builder import BuildPool
from tuner.measuring.canary import typical_us
from tuner.measuring.measure import COLD_WEIGHT_BYTES, DeviceAddress, Measured, Probe, measure
from tuner.measuring.outputs import OutputCheck, Problem
from tuner.measuring.placing import Placing, build_writer, constants_of
from tuner.measuring.repeats import USUAL, Repeats
from tuner.search.entrants import Entrant, entrants_of, plain
from tuner.search.guess import Guess
from tuner.search.remembered import Remembered, Times

log = logging.getLogger(__name__)

_ROUNDS = 3
_BEATEN = 2.0  # who takes so many times as long as the fastest in the first round has lost


@dataclass(frozen=True)
class Finalist:
    """A record, a ready-made schedule by name, a guess, or (none of these) the default one, with the seconds of each
    repeat."""

    record: Record | None
    run_secs: list[float]
    ready_made: str = ""
    guess: Guess | None = None

    @property
    def seconds(self) -> float:
        """The median repeat."""
        return median(self.run_secs)

    @property
    def trace(self) -> str:
        """What to compile it from: the record's or the guess's JSON, a ready-made schedule's name, or nothing for the
        default one."""
        if self.guess is not None:
            return self.guess.trace
        return self.record.trace if self.record is not None else self.ready_made

    @property
    def name(self) -> str:
        """Of what is no record."""
        return self.guess.name if self.guess is not None else self.ready_made


@dataclass(frozen=True)
class Final:
    """One workload's outcome: the winner, and the plain schedule beside it (None where it could not be timed).

    ``left_out`` are the records that make no schedule on this target, each with the reason; ``checked`` those whose
    outputs were compared now, each with what is wrong with them, or nothing.
    """

    winner: Finalist | None
    plain: Finalist | None
    left_out: tuple[tuple[Record, str], ...] = ()
    checked: tuple[tuple[Record, Problem | None], ...] = ()


class Finals:
    """Measures finalists of one target on one device."""

    def __init__(
        self,
        device: DeviceAddress,
        builders: BuildPool,
        target: dict[str, Any],
        folder: Path,
        time_canary: Callable[[Any], float] | None = None,
        weights: Weights | None = None,
        remembered: Remembered | None = None,
        repeats: Repeats = USUAL,
    ) -> None:
        """``weights`` say how much each size counts, where extents are known only when a kernel runs; ``remembered``
        is what was timed before, and keeps what is timed now."""
        self._weights = weights
        self._repeats = repeats
        self._remembered = remembered
        self._device = device
        self._builders = builders
        self._target = json.dumps(target)
        self._tvm_target = make_target(target)
        self._folder = folder
        self._time_canary = time_canary
        self._canary_secs: list[float] = []

    @property
    def canary_us(self) -> float | None:
        """What the reference kernel took meanwhile, in microseconds; None where it is not timed."""
        return typical_us(self._canary_secs)

    def decide(
        self,
        workload_id: str,
        tir: str,
        weight_bytes: int,
        candidates: Sequence[Record],
        relatives: Sequence[str] = (),
    ) -> Final:
        """Time the default schedule, the ready-made ones and the candidates, interleaved; the fastest right one wins.
        Where there is no candidate, the guess takes part, which may follow ``relatives``.

        Raises DeviceUnavailable of ``rpc.errors`` when the device does not come.
        """
        mod = module_from_json(tir)
        entrants, left_out = entrants_of(mod, candidates, self._tvm_target, relatives)
        finalists = self._timed(workload_id, entrants, weight_bytes)
        check = OutputCheck(mod, self._target, self._device, self._builders, self._folder)
        checked: list[tuple[Record, Problem | None]] = []

        def is_right(entrant: Entrant) -> bool:
            if entrant.is_trusted:
                return True
            problem = check.problem_of(entrant, self._folder / workload_id)
            if problem:
                log.warning("schedule %s of %s is wrong: %s", entrant.id, workload_id, problem)
            if entrant.record is not None:
                checked.append((entrant.record, problem))
            return problem is None

        ranking = sorted(finalists, key=lambda n: finalists[n].seconds)
        winner = next((finalists[n] for n in ranking if is_right(entrants[n])), None)
        return Final(winner, finalists.get(0), tuple(left_out), tuple(checked))

    def time_plain(self, workloads: Sequence[ExtractedWorkload]) -> dict[str, float]:
        """Seconds of each workload's default schedule, what it takes untuned, by id; of those that ran. One look does:
        ``decide`` times it again."""
        kernels = {one.id: plain(one.mod, self._tvm_target) for one in workloads}
        found: dict[str, float] = {}
        for one in workloads:
            if known := self._known([kernels[one.id]], one.weight_bytes, look="plain"):
                found[one.id] = median(next(iter(known.run_secs.values())))
        left = [one for one in workloads if one.id not in found]
        for probe in self._probes("plain", [kernels[one.id] for one in left]):
            one = left[probe.number]

            def keep(_: Probe, result: Measured, one: ExtractedWorkload = one) -> None:
                if result.seconds is not None:
                    found[one.id] = result.seconds
                    self._keep([kernels[one.id]], one.weight_bytes, [result.run_secs], [], look="plain")

            measure(self._device, [probe], one.weight_bytes >= COLD_WEIGHT_BYTES, None, None, keep, self._repeats)
        return found

    def _timed(self, workload_id: str, entrants: list[Entrant], weight_bytes: int) -> dict[int, Finalist]:
        """Those that ran each time, by their position: what fails once would fail in the module. What the same ones
        took side by side not long ago is not timed again."""
        if known := self._known(entrants, weight_bytes):
            timings = {n: known.run_secs[entrant.kernel] for n, entrant in enumerate(entrants)}
            canary_secs = known.canary_secs
        else:
            timings, canary_secs = self._timed_now(workload_id, entrants, weight_bytes >= COLD_WEIGHT_BYTES)
            if len(timings) == len(entrants):
                self._keep(entrants, weight_bytes, [timings[n] for n in range(len(entrants))], canary_secs)
        self._canary_secs += canary_secs
        found = ((entrants[n], n, secs) for n, secs in timings.items())
        return {n: Finalist(one.record, secs, one.ready_made, one.guess) for one, n, secs in found}

    def _known(self, entrants: Sequence[Entrant], weight_bytes: int, **terms: str) -> Times | None:
        if self._remembered is None:
            return None
        return self._remembered.find([one.kernel for one in entrants], **self._terms(weight_bytes), **terms)

    def _keep(
        self,
        entrants: Sequence[Entrant],
        weight_bytes: int,
        run_secs: Sequence[list[float]],
        canary_secs: list[float],
        **terms: str,
    ) -> None:
        if self._remembered is not None:
            by_kernel = {entrant.kernel: secs for entrant, secs in zip(entrants, run_secs, strict=True)}
            self._remembered.keep(Times(by_kernel, canary_secs), **self._terms(weight_bytes), **terms)

    def _terms(self, weight_bytes: int) -> dict[str, Any]:
        """What a kernel's time depends on beside the kernel and the device."""
        is_cold = weight_bytes >= COLD_WEIGHT_BYTES
        asked = {} if self._repeats == USUAL else {"repeats": repr(self._repeats)}
        return {"target": self._target, "cold": is_cold, "weights": repr(self._weights), **asked}

    def _timed_now(
        self, workload_id: str, entrants: list[Entrant], is_cold: bool
    ) -> tuple[dict[int, list[float]], list[float]]:
        probes = [
            replace(probe, placing=self._placing(entrants[probe.number].mod))
            for probe in self._probes(workload_id, entrants)
        ]
        timings: dict[int, list[float]] = {probe.number: [] for probe in probes}
        canary_secs: list[float] = []

        def keep(probe: Probe, result: Measured) -> None:
            if result.error_class:
                log.warning("schedule %s of %s failed: %s", entrants[probe.number].id, workload_id, result.error)
                del timings[probe.number]
            else:
                timings[probe.number] += result.run_secs
            if result.canary_sec:
                canary_secs.append(result.canary_sec)

        left = probes[::-1]  # the plain schedule last: far slower than one before it, it is looked at only briefly
        for _ in range(_ROUNDS):
            measure(self._device, left, is_cold, self._time_canary, None, keep, self._repeats)
            left = [probe for probe in left if probe.number in not_beaten(timings)]
        return timings, canary_secs

    def _probes(self, workload_id: str, entrants: list[Entrant]) -> list[Probe]:
        jobs = [
            BuildJob(str(tvm.ir.save_json(entrant.mod)), self._target, str(self._folder / f"{workload_id}-{number}.so"))
            for number, entrant in enumerate(entrants)
        ]
        probes = []
        for number, built in enumerate(self._builders.build(jobs)):
            if not built.error_class:
                probes.append(self._probe(number, built.path, entrants[number].mod))
        return probes

    @cached_property
    def _writer(self) -> str:
        """What stands for each kernel's predecessor on a CPU; empty for other devices."""
        return build_writer(self._builders, self._target, self._folder) if self._device.kind == "cpu" else ""

    def _placing(self, mod: Any) -> Placing | None:
        return Placing(self._writer, constants_of(mod)) if self._writer else None

    def _probe(self, number: int, path: str, mod: Any) -> Probe:
        function = mod["main"]
        if self._weights is None or not is_symbolic(function):
            return Probe(number, path, built_arguments(mod))
        return Probe(number, path, shapes(function, nominal(function)), points(function, self._weights))


def not_beaten(timings: Mapping[int, Sequence[float]]) -> set[int]:
    """Those that may still win, by the seconds of their repeats so far."""
    typical = {number: median(secs) for number, secs in timings.items() if secs}
    return {number for number, sec in typical.items() if sec <= _BEATEN * min(typical.values())}
