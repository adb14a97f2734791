"""Workloads: tuning tasks taken from a module, their identity, their arithmetic."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.s_tir.meta_schedule.relax_integration import extract_tasks

from tuner.db.models import Workload
from tuner.graph.as_json import from_json
from tuner.graph.attention_kernel import attention_of
from tuner.graph.calls import kernel_called
from tuner.graph.pipeline import kernels_of
from tuner.kernels.blocks import layout_free as layout_free
from tuner.kernels.extents import is_symbolic, nominal, shapes
from tuner.kernels.flops import flops_of
from tuner.kernels.precision import FULL, precision_of
from tuner.kernels.written import writer_for


@dataclass(frozen=True)
class ExtractedWorkload:
    """One distinct PrimFunc of a module.

    ``flops`` counts floating-point operations of one launch, ``weight`` launches per inference, ``weight_bytes`` the
    bytes of constant arguments; ``mod`` is an IRModule whose only function is ``main``.
    """

    id: str
    name: str
    summary: str
    flops: float
    weight: int
    weight_bytes: int
    tunable: bool
    mod: Any

    @property
    def tir(self) -> str:
        """The module as JSON, as records keep it."""
        return str(tvm.ir.save_json(self.mod))

    def as_row(self) -> Workload:
        """What the database keeps of it; how often it is launched is each model's own."""
        return Workload(
            id=self.id,
            name=self.name,
            summary=self.summary,
            flops=self.flops,
            weight_bytes=self.weight_bytes,
            tir=self.tir,
        )


def plain_name(name: str) -> str:
    """What a kernel does, of the name fusion gave it: ``fused_matmul2_add3_gelu1`` is ``matmul_add_gelu``."""
    return re.sub(r"\d+(?=_|$)", "", name.removeprefix("fused_"))


def module_from_json(tir: str) -> Any:
    """The IRModule of a workload's stored JSON."""
    return from_json(tir)


def workload_id(mod: Any) -> str:
    """Identity of a workload: the structural hash of its module; the same for any model that contains it."""
    return f"wl-{tvm_ffi.structural_hash(mod) & (2**64 - 1):016x}"


def buffers_of(func: Any) -> list[tuple[tuple[int, ...], str]]:
    """Shape and dtype of each argument of a PrimFunc, in order; of one text, where lengths vary."""
    return shapes(func, nominal(func))


def written_arguments(mod: Any) -> list[int]:
    """Which arguments of the module's ``main`` it writes, in order: its outputs."""
    sch = tvm.s_tir.Schedule(mod)
    blocks = [sch.get(block) for block in sch.get_child_blocks(sch.get_sblock("root"))]
    written = [region.source for block in blocks for region in block.writes]
    return [n for n, param in enumerate(mod["main"].params) if any(param.same_as(one) for one in written)]


def summarize(func: Any) -> str:
    """Arguments and result in one line: ``float32[128,768], float32[768,768] -> float32[128,768]``."""
    extents = [[int(e) if isinstance(e, tirx.IntImm) else str(e) for e in buffer.shape] for buffer in func.params]
    texts = [f"{b.dtype}[{','.join(map(str, shape))}]" for b, shape in zip(func.params, extents, strict=True)]
    return ", ".join(texts[:-1]) + " -> " + texts[-1]


def _nbytes(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * max(1, tvm.DataType(dtype).bits // 8)


def _computes(func: Any) -> bool:
    """Does the function compute on floats? One that reads integers looks up or converts (``take``, masks): search gains
    nothing there, and wild indices crash a device."""
    if attention_of(func) is not None:
        return True
    return all(dtype.startswith(("float", "bfloat")) for _, dtype in buffers_of(func))


def describe(mod: Any, name: str, weight: int) -> ExtractedWorkload:
    """An ``ExtractedWorkload`` from a one-function module."""
    func = mod["main"]
    buffers = buffers_of(func)
    constants = layout_free(func)
    precision = precision_of(func)
    return ExtractedWorkload(
        id=workload_id(mod),
        name=name if precision == FULL else f"{name}_{precision}",
        summary=summarize(func),
        flops=flops_of(func),
        weight=weight,
        weight_bytes=sum(_nbytes(*buffers[i]) for i in constants),
        tunable=_computes(func),
        mod=mod,
    )


def _first_calls(mod: Any) -> dict[str, int]:
    """Names of kernels with the place of their first call in ``main``."""
    order: dict[str, int] = {}

    def visit(expr: Any) -> None:
        if name := kernel_called(expr):
            order.setdefault(name, len(order))

    relax.analysis.post_order_visit(mod["main"], visit)
    return order


def extract(mod: Any, target: Any) -> list[ExtractedWorkload]:
    """All distinct workloads of ``mod`` in order of first use; equal functions are one workload of greater weight."""
    found: dict[str, ExtractedWorkload] = {}
    order = _first_calls(mod)
    for task in sorted(extract_tasks(mod, target), key=lambda task: order[str(task.task_name)]):
        one = describe(task.dispatched[0], plain_name(str(task.task_name)), int(task.weight))
        if one.tunable and is_symbolic(one.mod["main"]):  # only what is written out can be searched then
            one = replace(one, tunable=writer_for(one.mod, target) is not None)
        if one.id in found:
            one = ExtractedWorkload(**{**vars(one), "weight": one.weight + found[one.id].weight})
        found[one.id] = one
    return list(found.values())


def ids_of(mod: Any) -> dict[str, str]:
    """The id of the workload that each kernel of a module is, by the kernel's name."""
    return {name: workload_id(tvm.IRModule({"main": _alone(func)})) for name, func in kernels_of(mod).items()}


def names_of(mod: Any, workload: Any) -> list[str]:
    """Names of the kernels of a module that are the workload, given as its one-function module."""
    wanted = _alone(workload["main"])
    return [name for name, func in kernels_of(mod).items() if tvm_ffi.structural_equal(_alone(func), wanted)]


def _alone(func: Any) -> Any:
    return func.with_attr({"global_symbol": "main", "tirx.noalias": True})
