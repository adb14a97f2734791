"""``python -m benchmarks.stock TASK SCORE FOLDER``: TVM's own ``tune_relax`` on a task, LocalBuilder and RPCRunner."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import tvm
from tvm import relax
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.relax_integration import tune_relax

from benchmarks.contest import Kernel, Score, Task, hand_in
from benchmarks.devices import HOST
from tuner.kernels.workload import module_from_json

_SESSION_SEC = 60
_BUILD_SEC = 600.0  # of its default, 30 s, what each of its processes imports first takes most; on a busy machine all


@derived_object
class _Count(ms.measure_callback.PyMeasureCallback):
    """Counts what was measured and keeps each function's best median."""

    def __init__(self) -> None:
        super().__init__()
        self.tried = 0
        self.failed = 0
        self.best_us: dict[str, float] = {}

    def apply(self, scheduler: Any, task_id: int, candidates: Any, built: Any, results: Any) -> None:
        kernel = str(scheduler.tasks_[task_id].ctx.task_name)
        for result in results:
            self.tried += 1
            if result.error_msg:
                self.failed += 1
            else:
                best = self.best_us.get(kernel, float("inf"))
                self.best_us[kernel] = min(best, median(float(sec) * 1e6 for sec in result.run_secs))


def run(task: Task, folder: Path) -> Score:
    """Tune all kernels; those that are timed alike in one call, since its evaluator's settings are the same for all."""
    count = _Count()
    callbacks = [*ms.measure_callback.MeasureCallback.create("default"), count]
    start = time.monotonic()
    for number, (settings, kernels) in enumerate(_timed_alike(task.kernels)):
        tune_relax(
            model_of(kernels),
            {},
            tvm.target.Target(task.target),
            work_dir=str(folder / f"stock-{number}"),
            max_trials_global=task.trials * len(kernels),
            max_trials_per_task=task.trials,
            builder=ms.builder.LocalBuilder(timeout_sec=_BUILD_SEC),
            runner=_runner(task, settings),
            measure_callbacks=callbacks,
        )
    seconds = time.monotonic() - start
    ids = {_function_name(kernel): kernel.id for kernel in task.kernels}
    best_us = {ids[name]: us for name, us in count.best_us.items()}
    return Score(tried=count.tried, failed=count.failed, seconds=seconds, best_us=best_us)


def model_of(kernels: Sequence[Kernel]) -> Any:
    """A Relax module that calls each kernel once, so that task extraction finds just these."""
    functions = {
        _function_name(kernel): module_from_json(kernel.tir)["main"].without_attr("global_symbol") for kernel in kernels
    }
    builder = relax.BlockBuilder()
    calls = []
    inputs = []
    for name, function in functions.items():
        *arguments, result = [_tensor(info) for info in ArgInfo.from_prim_func(function)]
        calls.append(([relax.Var(f"{name}_{n}", one) for n, one in enumerate(arguments)], result))
        inputs += calls[-1][0]
    with builder.function("main", inputs):
        outputs = [
            builder.emit(relax.call_tir(builder.add_func(function, name), variables, result))
            for (name, function), (variables, result) in zip(functions.items(), calls, strict=True)
        ]
        builder.emit_func_output(relax.Tuple(outputs))
    return builder.finalize()


def _function_name(kernel: Kernel) -> str:
    return kernel.id.replace("-", "_")


def _tensor(info: Any) -> Any:
    return relax.TensorType([int(extent) for extent in info.shape], str(info.dtype))


def _timed_alike(kernels: Iterable[Kernel]) -> list[tuple[dict[str, Any], list[Kernel]]]:
    def key(kernel: Kernel) -> str:
        return json.dumps(kernel.evaluator, sort_keys=True)

    return [(json.loads(text), list(group)) for text, group in groupby(sorted(kernels, key=key), key)]


def _runner(task: Task, settings: dict[str, Any]) -> Any:
    return ms.runner.RPCRunner(
        ms.runner.RPCConfig(HOST, task.tracker_port, task.device_key, session_timeout_sec=_SESSION_SEC),
        ms.runner.EvaluatorConfig(
            number=settings["number"],
            repeat=settings["repeat"],
            min_repeat_ms=settings["min_repeat_ms"],
            enable_cpu_cache_flush=settings["cold_weights"],
        ),
    )


def main() -> None:
    """Entry of the process."""
    task_file, score_file, folder = map(Path, sys.argv[1:])
    hand_in(run(Task.model_validate_json(task_file.read_bytes()), folder), score_file)


if __name__ == "__main__":
    main()
