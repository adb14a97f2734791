"""Kernels of transformers for an Apple GPU: their modules, arguments, what they must give, and schedules to try."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax, te, topi
from tvm.s_tir import meta_schedule as ms

from tests.support import msl
from tests.support.msl.source import Lowered, lower
from tests.support.tiny_imports import import_tiny, local_target
from tests.support.tiny_models import write_model
from tuner.graph import operators as kernels
from tuner.graph.calls import kernel_called, types_given
from tuner.graph.pipeline import Prepared
from tuner.importers import cache
from tuner.kernels import ready_made
from tuner.kernels.context import make_context
from tuner.kernels.defaults import default_schedule
from tuner.kernels.space import space_for
from tuner.kernels.workload import buffers_of, extract
from tuner.kernels.written import to_json, writer_for
from tuner.search.guess import guess

_ATTEMPTS = 1000  # at a candidate that is not refused
_CHOICES = 2  # of a kernel that is written out
TARGET = tvm.target.Target("apple/m1-gpu")


@dataclass(frozen=True, eq=False)
class Kernel:
    """An unscheduled kernel, whose last argument is its result."""

    name: str
    mod: Any
    tunable: bool = True

    def arguments(self) -> list[np.ndarray]:
        """Random inputs; the result's array holds no numbers, so that what is never written shows."""
        rng = np.random.default_rng(len(self.name))
        arrays = []
        for shape, dtype in buffers_of(self.mod["main"]):
            lowest = 0.1 if "sqrt" in self.name else -1.0
            values = rng.uniform(lowest, 1, shape) if dtype.startswith("float") else rng.integers(0, 2, shape)
            arrays.append(np.asarray(values).astype(dtype))
        arrays[-1][...] = np.nan if arrays[-1].dtype.kind == "f" else -1
        return arrays

    def expected(self, arguments: list[np.ndarray]) -> np.ndarray:
        """The result by the unscheduled kernel on this machine."""
        tensors = [tvm.runtime.tensor(array) for array in arguments]
        # As plain "llvm", float16 takes 15 s; at its usual level LLVM takes three times as long over a few loops.
        tvm.tirx.build(self.mod, tvm.target.Target({**local_target(), "opt-level": 1}))["main"](*tensors)
        return tensors[-1].numpy()


def kernels_of(kind: str | dict[str, Any], seq_len: int, folder: Path, graph: str = "metal") -> list[Kernel]:
    """The float32 kernels that a model becomes; ``kind`` as ``write_model`` knows it, ``graph`` the kind of target."""
    return kernels_in(write_model(folder / "model", kind), "encoder", seq_len, folder / "imports", graph)


def kernels_in(model: Path, head: str, seq_len: int, root: Path, graph: str = "metal") -> list[Kernel]:
    """Those of the model in a folder with this head."""
    mod = cache.load_module(root, import_tiny(model, head, 1, seq_len, root, graph))
    return [Kernel(one.name, one.mod, one.tunable) for one in extract(mod, TARGET)]


def half_kernels(rows: int, width: int, heads: int) -> list[Kernel]:
    """The kernels of a layer in float16: projections with what follows them, attention, softmax, normalisation."""

    def tensor(*shape: int) -> Any:
        return te.placeholder(shape, "float16", name=f"in{len(shape)}")

    x, weight, bias, residual = (
        tensor(rows, width),
        tensor(width, 3 * width),
        tensor(3 * width),
        tensor(rows, 3 * width),
    )
    product = topi.matmul(x, weight)
    projected = topi.add(product, bias)
    scores = tensor(1, heads, rows, rows)
    values = tensor(1, heads, rows, width // heads)
    gamma, beta = tensor(width), tensor(width)
    made = {
        "projection": [x, weight, bias, projected],
        "projection_residual": [x, weight, bias, residual, topi.add(projected, residual)],
        "projection_gelu": [x, weight, bias, kernels.gelu(projected)],
        "attention": [scores, values, _batched(scores, values)],
        "softmax": [scores, kernels.softmax_last_axis(scores)],
        "layer_norm": [x, gamma, beta, kernels.layer_norm_rows(x, gamma, beta, 1e-5)],
    }
    return [Kernel(name, tvm.IRModule({"main": te.create_prim_func(tensors)})) for name, tensors in made.items()]


def _batched(a: Any, b: Any) -> Any:
    k = te.reduce_axis((0, int(a.shape[-1])), "k")
    shape = (*a.shape[:-1], b.shape[-1])
    return te.compute(shape, lambda n, h, i, j: te.sum(a[n, h, i, k] * b[n, h, k, j], axis=k), name="context")


def ready(kernel: Kernel) -> dict[str, Lowered]:
    """Code of the ready-made schedules there are for a kernel, by name; the same code once. Of one that is written out,
    by its first choices."""
    codes: dict[str, Lowered] = {}
    if (writer := writer_for(kernel.mod, TARGET)) is not None:
        return {to_json(choice): lower(writer.module(choice), TARGET) for choice in writer.choices[:_CHOICES]}
    for name in ready_made.names(TARGET):
        schedule = ready_made.schedule(name, kernel.mod, TARGET)
        code = lower(schedule.mod, TARGET) if schedule is not None else None
        if code is not None and code not in codes.values():
            codes[name] = code
    return codes


def sampled(kernel: Kernel, count: int, target: Any = TARGET) -> Iterator[Lowered]:
    """Code of up to ``count`` candidates of the search, chosen blindly."""
    for schedule in sampled_schedules(kernel, count, target):
        yield lower(schedule.mod, target)


def sampled_schedules(kernel: Kernel, count: int, target: Any = TARGET) -> Iterator[Any]:
    """Up to ``count`` schedules of the search, chosen blindly."""
    strategy = ms.search_strategy.ReplayTrace(max_fail_count=_ATTEMPTS)
    context = make_context(kernel.mod, target, space_for(target), strategy, seed=1, threads=1, name="sampled")
    context.pre_tuning(count, count, context.generate_design_space())
    for candidate in context.generate_measure_candidates() or []:
        yield candidate.sch


def run_model(prepared: Prepared, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a whole model whose every kernel is run as a first compile would have it."""
    main = prepared.mod["main"]
    values: dict[Any, Any] = dict(zip(main.params, [*inputs, *prepared.params], strict=True))

    def of(expr: Any) -> Any:
        if isinstance(expr, relax.Tuple):
            return [of(field) for field in expr.fields]
        if isinstance(expr, relax.TupleGetItem):
            return of(expr.tuple_value)[expr.index]
        if hasattr(expr, "data"):  # a constant
            return expr.data.numpy()
        return values[expr]

    for block in main.body.blocks:
        for binding in block.bindings:
            call = binding.value
            if name := kernel_called(call):
                empty = [np.zeros(tuple(map(int, one.shape)), str(one.dtype)) for one in types_given(call)]
                arguments = [*of(call.args[1]), *empty]
                found = run_first(prepared.mod[name], arguments)[-len(empty) :]
                values[binding.var] = found if len(found) > 1 else found[0]
            elif isinstance(call, relax.Call):  # a view of the same numbers
                values[binding.var] = of(call.args[0]).reshape(tuple(map(int, binding.var.ty.shape)))
            else:
                values[binding.var] = of(call)
    found = of(main.body.body)
    return found if isinstance(found, list) else [found]


def run_first(function: Any, arguments: list[np.ndarray]) -> list[np.ndarray]:
    """All arguments of a kernel by its first guess, or by what it is where there is none."""
    mod = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
    guessed = guess(mod, TARGET)
    scheduled = None
    if guessed is not None and ready_made.is_name(guessed.trace):
        scheduled = ready_made.schedule(guessed.trace, mod, TARGET)
    made = scheduled.mod if scheduled is not None else tvm.IRModule({"main": default_schedule(mod["main"], TARGET)})
    return msl.run(made, TARGET, arguments)
