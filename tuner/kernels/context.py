"""TVM's tuning context and records as this product needs them."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import Any

import tvm
import tvm_ffi
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule import _ffi_api
from tvm.s_tir.meta_schedule.logging import get_logging_func

from tuner.kernels import traces

_LOGGER = logging.getLogger("tunesmith.search.tvm")
_LOGGER.setLevel(logging.WARNING)  # it tells of every generation

# What TVM's parts raise over a trace that is not of the workload: records may come from anywhere.
NO_SCHEDULE = (RuntimeError, ValueError, TypeError, LookupError, tvm.error.InternalError)


def make_context(mod: Any, target: Any, space: Any, strategy: Any, seed: int, threads: int, name: str) -> Any:
    """A ``TuneContext``.

    The stock constructor first imports every tensor intrinsic TVM knows, about 15 s in each process; no rule used here
    needs one, so this does what it does without that import.
    """
    context = ms.TuneContext.__new__(ms.TuneContext)
    context.__init_handle_by_constructor__(
        _ffi_api.TuneContext, mod, target, space, strategy, name, threads, seed, get_logging_func(_LOGGER)
    )
    _ffi_api.TuneContextInitialize(context)
    return context


def candidate_id(sch: Any) -> str:
    """Identity of a candidate: structural hash of its scheduled module, 16 hex digits."""
    return module_id(sch.mod)


def module_id(mod: Any) -> str:
    """The same, of the module itself."""
    return f"{tvm_ffi.structural_hash(mod) & (2**64 - 1):016x}"


def tuning_record(trace: Any, workload: Any, run_secs: list[float] | None, target: Any, arguments: Any) -> Any:
    """A ``TuningRecord`` that survives JSON.

    A trace's post-processing holds index maps that neither JSON nor text can carry; replaying makes it again.
    """
    return ms.database.TuningRecord(trace.simplified(remove_postproc=True), workload, run_secs, target, arguments)


def record_json(record: Any) -> str:
    """A record as one line of JSON."""
    return json.dumps(record.as_json(), separators=(",", ":"))


def record_from_json(text: str, workload: Any, run_secs: list[float] | None = None) -> Any:
    """A ``TuningRecord`` of ``workload`` from ``record_json``'s text, with these run seconds if given.

    Raises ValueError or what else is in ``NO_SCHEDULE`` when it is damaged.
    """
    trace, stored_secs, target, arguments = json.loads(text)
    traces.check(trace)
    secs = stored_secs if run_secs is None else run_secs
    return ms.database.TuningRecord.from_json([trace, secs, target, arguments], workload)


def built_arguments(mod: Any) -> list[tuple[tuple[int, ...], str]]:
    """Shape and dtype of each argument as the built library takes them: constants in the layout the schedule chose."""
    infos = ms.arg_info.ArgInfo.from_entry_func(mod, remove_preproc=True)
    return [(tuple(int(d) for d in info.shape), str(info.dtype)) for info in infos]


class Replay:
    """Turns record JSON of one workload back into schedules, post-processing (layouts, loops) included."""

    def __init__(self, mod: Any, target: Any, space: Any) -> None:
        self.workload = ms.database.Workload(mod)
        self._target = target
        strategy = ms.search_strategy.ReplayTrace()
        self._context = make_context(mod, target, space, strategy, seed=1, threads=1, name="replay")

    def schedule(self, text: str) -> Any | None:
        """The schedule of a record; None when it does not fit the space any more, or never was one of this workload."""
        schedule = self.traced(text)
        return None if schedule is None else self.post_process(schedule)

    def traced(self, text: str) -> Any | None:
        """The schedule of a record as its trace alone makes it, whether it fits or not; None when it makes none."""
        schedule = tvm.s_tir.Schedule(self.workload.mod)
        with suppress(*NO_SCHEDULE):
            record_from_json(text, self.workload).trace.apply_to_schedule(schedule, remove_postproc=True)
            return schedule
        return None

    def post_process(self, schedule: Any) -> Any | None:
        """Run the space's post-processors on a schedule of the workload; None when one of them refuses it or fails."""
        with suppress(*NO_SCHEDULE):
            schedule.enter_postproc()
            if all(postproc.apply(schedule) for postproc in self._context.space_generator.postprocs):
                return schedule
        return None

    def candidate(self, schedule: Any) -> Any:
        """A measure candidate, as cost models take it."""
        infos = ms.arg_info.ArgInfo.from_entry_func(schedule.mod, remove_preproc=True)
        return ms.MeasureCandidate(schedule, infos)

    def trace_json(self, candidate: Any) -> str:
        """A candidate of the workload as record JSON, which ``schedule`` takes; it has no times."""
        return record_json(tuning_record(candidate.sch.trace, self.workload, None, self._target, candidate.args_info))

    def record(self, schedule: Any, run_secs: list[float]) -> Any:
        """A database record with the whole trace; for use in this process only: it has no JSON."""
        return ms.database.TuningRecord(schedule.trace, self.workload, run_secs, self._target, None)


def make_target(description: dict[str, Any]) -> Any:
    """A TVM target from its JSON form; the host is the target itself unless given."""
    return tvm.target.Target(description)
