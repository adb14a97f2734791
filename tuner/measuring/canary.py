"""The canary: one kernel, always the same, that tells whether a device runs as fast as before.

It does what a model's large kernels do, arithmetic on weights that come from memory: neighbours on a shared
machine take that more often than a core's time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import tvm
from tvm import te

from rpc.drafts import draft
from tuner.kernels.context import make_target
from tuner.kernels.defaults import default_schedule
from tuner.measuring.build_process import BuildJob
from tuner.measuring.repeats import Repeats
from tuner.measuring.timing import Arguments, load_library, repeats
from tuner.targets import triples

if TYPE_CHECKING:
    from tuner.db.models import Job  # a benchmark needs nothing of databases
    from tuner.measuring.builder import BuildPool

_ROWS, _DEPTH, _COLUMNS = 16, 1024, 1024
_ARGUMENTS = [((_ROWS, _DEPTH), "float32"), ((_DEPTH, _COLUMNS), "float32"), ((_ROWS, _COLUMNS), "float32")]
_REPEATS = 5


class Canary:
    """The canary on a device, loaded once and timed at will.

    ``remote`` is an RPC session, or ``tvm.rpc.LocalSession()`` for this process; ``path`` is of the library here.
    """

    def __init__(self, remote: Any, path: str) -> None:
        self._device = remote.cpu(0)
        self._module = load_library(remote, path)
        self._arrays = Arguments(remote, self._device).of(_ARGUMENTS)

    def seconds(self) -> float:
        """The median of a few runs, each with nothing in the caches."""
        return median(repeats(self._module, self._device, self._arrays, flush=True, wanted=Repeats(_REPEATS)))


class Watch:
    """How fast a device is while other things are timed on it; without a library it sees nothing."""

    def __init__(self, remote: Any, path: str | None) -> None:
        self._canary = Canary(remote, path) if path else None
        self._secs: list[float] = []

    def look(self) -> None:
        """Time the canary now."""
        if self._canary:
            self._secs.append(self._canary.seconds())

    @property
    def typical_us(self) -> float | None:
        """What the canary took, None if it was never timed."""
        return typical_us(self._secs)


class Canaries:
    """Canary libraries by family of target, built once."""

    def __init__(self, folder: Path, builders: BuildPool) -> None:
        self._folder = folder
        self._builders = builders
        self._paths: dict[str, str] = {}

    def timer(self, job: Job) -> Callable[[Any], float] | None:
        """What ``measure`` times the canary of a job's target by."""
        path = self.library(job)
        return (lambda remote: Canary(remote, path).seconds()) if path else None

    def library(self, job: Job) -> str | None:
        """Path of the library for a job's target; a GPU has none."""
        family, target = job.target_family, job.target_json
        if target.get("kind", "llvm") != "llvm":
            return None
        if family not in self._paths:
            module = tvm.ir.save_json(canary_module(make_target(target)))
            path = self._folder / f"{triples.file_name(family)}.so"
            with draft(self._folder) as scratch:
                (built,) = self._builders.build([BuildJob(str(module), json.dumps(target), str(scratch / path.name))])
                if built.error_class:
                    raise RuntimeError(f"the canary kernel does not build for {family}: {built.error}")
                os.replace(built.path, path)  # in one step: another worker may be sending it to a device
            self._paths[family] = str(path)
        return self._paths[family]


def typical_us(secs: Sequence[float]) -> float | None:
    """The median of a canary's times in seconds, as microseconds; None without any."""
    return median(secs) * 1e6 if secs else None


def canary_module(target: Any) -> Any:
    """A product of few rows and 4 MiB of weights by its plain schedule."""
    a = te.placeholder((_ROWS, _DEPTH), name="a")
    b = te.placeholder((_DEPTH, _COLUMNS), name="b")
    k = te.reduce_axis((0, _DEPTH), "k")
    product = te.compute((_ROWS, _COLUMNS), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="product")
    return tvm.IRModule({"main": default_schedule(te.create_prim_func([a, b, product]), target)})
