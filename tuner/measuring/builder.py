"""Builds candidates in warm processes that may crash or hang without taking anything else along.

A build in a warm process takes tens of milliseconds; the stock builder starts fresh processes for each batch and pays
the import of TVM and of every tensor intrinsic each time.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import TimeoutError as BuildTimeout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

_BUILDS_PER_PROCESS = 2000  # LLVM's contexts leak a little with each build: a process is replaced before that shows


@dataclass(frozen=True)
class BuildJob:
    """One library to make: module JSON, target JSON, where to write it.

    ``rewritten_arguments``: constants are expected in the layout the schedule chose (what is measured and shipped);
    else the library takes the workload's own layout and rewrites inside, slow: outputs are checked with it.
    """

    tir: str
    target: str
    path: str
    rewritten_arguments: bool = True


@dataclass(frozen=True)
class Built:
    """A library's path, or what went wrong: class ``build`` or ``build_timeout`` and a message."""

    path: str = ""
    error_class: str = ""
    error: str = ""


class BuildPool:
    """A pool of build processes; they start with the first batch and end with this process, however it ends."""

    def __init__(self, workers: int, timeout_sec: float) -> None:
        self._timeout_sec = timeout_sec
        self._pool = ProcessPool(
            max_workers=workers,
            max_tasks=_BUILDS_PER_PROCESS,
            initializer=_start,
            context=multiprocessing.get_context("spawn"),
        )

    def build(self, jobs: Iterable[BuildJob]) -> list[Built]:
        """Build all, each as soon as ``jobs`` yields it; a candidate that fails, hangs or crashes its process is a
        result, never an exception."""
        futures = [self._pool.schedule(_build, args=(job,), timeout=self._timeout_sec) for job in jobs]
        return [self._result(future) for future in futures]

    def _result(self, future: Any) -> Built:
        try:
            return Built(path=future.result())
        except BuildTimeout:
            return Built(error_class="build_timeout", error=f"the build took more than {self._timeout_sec:g} s")
        except ProcessExpired as crash:
            return Built(error_class="build", error=f"the compiler crashed: {crash}")
        except Exception as failure:  # TVM raises its own kinds, of many classes
            return Built(error_class="build", error=_last_line(failure))

    def close(self) -> None:
        """End the processes now."""
        self._pool.stop()
        self._pool.join()


def _last_line(failure: BaseException) -> str:
    lines = [line for line in str(failure).strip().splitlines() if line.strip()]
    return f"{type(failure).__name__}: {lines[-1].strip() if lines else ''}"[:500]


def _start() -> None:
    from rpc.lean import prepare_lean_import
    from rpc.lifeline import die_with_parent

    die_with_parent()
    prepare_lean_import()
    import tvm  # noqa: F401


def _build(job: BuildJob) -> str:
    import json

    import tvm
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock
    from tvm_ffi.serialization import from_json_graph_str

    from tuner.kernels.link import candidate_linker_for
    from tuner.kernels.prefetch import insert_prefetches

    mod = from_json_graph_str(job.tir)  # tvm.ir.load_json would first look for what older releases wrote, slowly
    if job.rewritten_arguments:
        mod = insert_prefetches(RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(mod))
    Path(job.path).parent.mkdir(parents=True, exist_ok=True)
    target = json.loads(job.target)
    # Whoever times or checks a candidate makes its arguments; code that looks at them takes a quarter of LLVM's time.
    with tvm.transform.PassContext(config={"tirx.disable_assert": True}):
        library = tvm.driver.build(mod, target=tvm.target.Target(target))
    library.export_library(job.path, fcompile=candidate_linker_for(target))
    return job.path
