"""A candidate of a job, built, run and checked once more in this process, to see how it fails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rpc.drafts import draft
from tuner.db.models import Record
from tuner.kernels.context import built_arguments, make_target
from tuner.kernels.extents import is_symbolic, nominal, shapes
from tuner.kernels.workload import module_from_json
from tuner.measuring.build_process import BuildJob
from tuner.measuring.builder import BuildPool
from tuner.measuring.here import here, why_not_here
from tuner.measuring.measure import Measured, Probe, measure
from tuner.measuring.outputs import OutputCheck
from tuner.search.entrants import Entrant, entrants_of


def retry(candidate: Mapping[str, Any], folder: Path, build_timeout_sec: float) -> dict[str, Any]:
    """What becomes of a candidate, with the fields of ``tuner.schemas.CandidateOut``: ``error_class`` and ``error``,
    or ``run_secs``, the seconds of each repeat; ``not_run`` says why it was only built. Its files go below ``folder``.
    """
    mod, target = module_from_json(candidate["tir"]), make_target(candidate["target"])
    record = Record(
        workload_id="", target_family="", candidate=candidate["candidate"], trace=candidate["trace"]
    )  # never stored
    entrants, left_out = entrants_of(mod, [record], target)
    if left_out:
        return {"error_class": "build", "error": f"it makes no schedule: {left_out[0][1]}"}
    entrant, told = entrants[-1], json.dumps(candidate["target"])
    with draft(folder) as scratch:
        builders = BuildPool(1, build_timeout_sec)
        try:
            (built,) = builders.build([BuildJob(entrant.tir, told, str(scratch / "candidate.so"))])
            if built.error_class:
                return {"error_class": built.error_class, "error": built.error}
            if reason := why_not_here(candidate["target"]):
                return {"not_run": f"It {reason}."}
            if (measured := _timed(entrant, built.path)).error_class:
                return {"error_class": measured.error_class, "error": measured.error}
            problem = OutputCheck(mod, told, here(), builders, scratch).problem_of(entrant, scratch)
        finally:
            builders.close()
    if problem:
        return {"error_class": problem.error_class, "error": problem.text}
    return {"run_secs": measured.run_secs, "machine": measured.measured_on}


def _timed(entrant: Entrant, path: str) -> Measured:
    function = entrant.mod["main"]
    arguments = shapes(function, nominal(function)) if is_symbolic(function) else built_arguments(entrant.mod)
    found: list[Measured] = []
    measure(here(), [Probe(0, path, arguments)], False, None, None, lambda _, result: found.append(result))
    return found[0]
