"""What schedules ask of a function's blocks."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.s_tir.analysis import estimate_tir_flops


def block_names(sch: Any) -> list[str]:
    """Names of the function's blocks, in the order they are computed."""
    return [str(sch.get(block).name_hint) for block in sch.get_child_blocks(sch.get_sblock("root"))]


def is_reduction(block: Any) -> bool:
    """Does any axis of the block reduce?"""
    return any(axis.iter_type != tirx.IterVar.DataPar for axis in block.iter_vars)


def operations(block: Any) -> float:
    """Floating-point operations on one element."""
    return float(estimate_tir_flops(block.body))


def layout_free(func: Any) -> set[int]:
    """Indices of arguments that are constants, whose layout the search may choose."""
    attrs = func.attrs
    return {int(i) for i in attrs["layout_free_buffers"]} if attrs and "layout_free_buffers" in attrs else set()
