"""The last measurement before compiling: the best few records of each workload, again, side by side.

The best of hundreds of noisy measurements is partly luck; a second, interleaved look picks the one that is really
fastest, and tells what it will take. A kernel that search could not improve keeps its plain schedule, or, on a GPU, the
fastest of the ready-made ones. What the winner computes is checked here, unless search has done it: it was the best of
its round, most often, but may come from another machine's log, or from a round that was killed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import tvm
import tvm_ffi

from tuner.db.models import Record
from tuner.kernels import ready_made, written
from tuner.kernels.context import Replay, built_arguments, make_target
from tuner.kernels.defaults import default_schedule
from tuner.kernels.extents import is_symbolic, nominal, points, shapes
from tuner.kernels.left_out import NO_CHOICE, refusal
from tuner.kernels.space import space_for
from tuner.kernels.workload import ExtractedWorkload, module_from_json
from tuner.lengths import Weights
from tuner.measuring.build_process import BuildJob
from tuner.measuring.builder import BuildPool
from tuner.measuring.canary import typical_us
from tuner.measuring.measure import COLD_WEIGHT_BYTES, DeviceAddress, Measured, Probe, measure
from tuner.measuring.outputs import OutputCheck, Problem
from tuner.measuring.placing import Placing, build_writer, constants_of

log = logging.getLogger(__name__)

_ROUNDS = 3


@dataclass(frozen=True)
class Finalist:
    """A record, a ready-made schedule by name, or (neither) the default one, with the seconds of each repeat."""

    record: Record | None
    run_secs: list[float]
    ready_made: str = ""

    @property
    def seconds(self) -> float:
        """The median repeat."""
        return median(self.run_secs)

    @property
    def trace(self) -> str:
        """What to compile it from: the record's JSON, a ready-made schedule's name, or nothing for the default one."""
        return self.record.trace if self.record is not None else self.ready_made


@dataclass(frozen=True)
class _Entrant:
    """A scheduled module and where its schedule comes from."""

    mod: Any
    record: Record | None = None
    ready_made: str = ""
    to_check: Any = None

    @property
    def id(self) -> str:
        """Its name, in logs and among the files of a check."""
        return self.record.candidate if self.record is not None else self.ready_made or "default"

    @property
    def is_trusted(self) -> bool:
        """Need nobody ask what it computes? The plain schedule, or a record that was checked."""
        return self.record.checked if self.record is not None else not self.ready_made

    @property
    def tir(self) -> str:
        """The module as JSON."""
        return str(tvm.ir.save_json(self.mod))

    @property
    def tir_to_check(self) -> str:
        """The same with the workload's own arguments, where the module takes others."""
        return str(tvm.ir.save_json(self.to_check)) if self.to_check is not None else ""


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
    ) -> None:
        """``weights`` say how much each size counts, where extents are known only when a kernel runs."""
        self._weights = weights
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

    def decide(self, workload_id: str, tir: str, weight_bytes: int, candidates: Sequence[Record]) -> Final:
        """Time the default schedule, the ready-made ones and the candidates, interleaved; the fastest right one wins.

        Raises DeviceUnavailable of ``rpc.errors`` when the device does not come.
        """
        mod = module_from_json(tir)
        entrants, left_out = self._entrants(mod, candidates)
        finalists = self._timed(workload_id, entrants, weight_bytes)
        check = OutputCheck(mod, self._target, self._device, self._builders, self._folder)
        checked: list[tuple[Record, Problem | None]] = []

        def is_right(entrant: _Entrant) -> bool:
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
        found: dict[str, float] = {}
        for probe in self._probes("plain", [self._plain(one.mod) for one in workloads]):
            one = workloads[probe.number]

            def keep(_: Probe, result: Measured, name: str = one.id) -> None:
                if result.seconds is not None:
                    found[name] = result.seconds

            measure(self._device, [probe], one.weight_bytes >= COLD_WEIGHT_BYTES, None, None, keep)
        return found

    def _timed(self, workload_id: str, entrants: list[_Entrant], weight_bytes: int) -> dict[int, Finalist]:
        """Those that ran each time, by their position: what fails once would fail in the module."""
        is_cold = weight_bytes >= COLD_WEIGHT_BYTES
        probes = self._probes(workload_id, entrants)
        if not is_cold:  # next to what comes from memory, a cache more or less is nothing
            probes = [replace(probe, placing=self._placing(entrants[probe.number].mod)) for probe in probes]
        timings: dict[int, list[float]] = {probe.number: [] for probe in probes}

        def keep(probe: Probe, result: Measured) -> None:
            if result.error_class:
                log.warning("schedule %s of %s failed: %s", entrants[probe.number].id, workload_id, result.error)
                del timings[probe.number]
            else:
                timings[probe.number] += result.run_secs
            if result.canary_sec:
                self._canary_secs.append(result.canary_sec)

        for _ in range(_ROUNDS):
            left = [probe for probe in probes if probe.number in timings]
            measure(self._device, left, is_cold, self._time_canary, None, keep)
        return {n: Finalist(entrants[n].record, secs, entrants[n].ready_made) for n, secs in timings.items()}

    def _entrants(self, mod: Any, candidates: Sequence[Record]) -> tuple[list[_Entrant], list[tuple[Record, str]]]:
        """The default schedule first, then all that differ from it; and the candidates that can't take part."""
        entrants = [self._plain(mod)]
        for name in ready_made.names(self._tvm_target):
            schedule = ready_made.schedule(name, mod, self._tvm_target)
            if schedule is not None and not any(_same(schedule.mod, other.mod) for other in entrants):
                entrants.append(_Entrant(schedule.mod, ready_made=name))
        replay = Replay(mod, self._tvm_target, space_for(self._tvm_target))
        left_out = []
        for record in candidates:
            if written.is_choice(record.trace):
                made = written.rewritten(record.trace, mod, self._tvm_target)
                if made is None:
                    left_out.append((record, NO_CHOICE))
                else:
                    to_check = written.rewritten(record.trace, mod, self._tvm_target, to_check=True)
                    entrants.append(_Entrant(made, record, to_check=to_check))
            elif (schedule := replay.schedule(record.trace)) is not None:
                entrants.append(_Entrant(schedule.mod, record))
            else:
                left_out.append((record, refusal(replay, record.trace, self._tvm_target)))
        return entrants, left_out

    def _plain(self, mod: Any) -> _Entrant:
        return _Entrant(tvm.IRModule({"main": default_schedule(mod["main"], self._tvm_target)}))

    def _probes(self, workload_id: str, entrants: list[_Entrant]) -> list[Probe]:
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


def _same(one: Any, other: Any) -> bool:
    """Do two modules compute ``main`` in the same way? Attributes say nothing about that."""
    return bool(tvm_ffi.structural_equal(one["main"].body, other["main"].body, map_free_vars=True))
