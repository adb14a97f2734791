"""The library of linear algebra that a target declares: what it computes products on, and how fast. Pure data.

Apple's Accelerate computes products on a matrix unit that the performance cores of a cluster share (AMX, SME on the M4
and later): 256 float32 multiply-adds begin in a cycle, 1.6 TFLOPS on an M1, of which 1.5 were measured (P. Cawley,
corsix/amx); ``cblas_sgemm`` sustains 600 to 900 GFLOPS of it there (D. Bhan, arXiv 2606.25426, among others).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.targets import apple, triples

EXPORTS = frozenset({"cblas_sgemm"})  # what kernels call, of all that such a library has
_SYSTEMS = {"accelerate": "macos", "openblas": "linux"}
_SUSTAINED = 0.4


@dataclass(frozen=True)
class Blas:
    """``name`` as ``rpc.blas`` has it, ``unit`` is what it computes on, ``flops_per_cycle`` of the cores' clock what a
    large product of float32 sustains; None where that is not known."""

    name: str
    unit: str
    flops_per_cycle: float | None = None


def blas_of(tvm: Mapping[str, Any]) -> Blas | None:
    """The one that a CPU's target declares among its ``libs``; None for all others."""
    declared = [name for name in tvm.get("libs", ()) if name in _SYSTEMS] if tvm.get("kind") == "llvm" else []
    if not declared:
        return None
    chip = apple.chip_of(str(tvm.get("mcpu", "")), str(tvm.get("tag", "")))
    if declared[0] != "accelerate" or chip is None:
        return Blas(declared[0], declared[0])
    return Blas(declared[0], apple.MATRIX_UNIT, apple.matrix_flops_per_cycle(chip) * _SUSTAINED)


def name_of(tvm: Mapping[str, Any]) -> str:
    """Its name, empty where a target declares none."""
    found = blas_of(tvm)
    return found.name if found is not None else ""


def without_blas(tvm: Mapping[str, Any]) -> dict[str, Any]:
    """The target as if it had none: all is computed by its cores."""
    return {name: value for name, value in tvm.items() if name != "libs"}


def refusal(tvm: Mapping[str, Any]) -> str:
    """Why a target can't have the ``libs`` it declares; empty when it can."""
    declared = tvm.get("libs", [])
    if not isinstance(declared, list) or len(declared) > 1 or not all(isinstance(one, str) for one in declared):
        return "The target's libs must be a list of one name."
    for name in declared:
        if name not in _SYSTEMS:
            return f"The target has the library {name!r}; known are {' and '.join(_SYSTEMS)}."
        if triples.system(tvm) != _SYSTEMS[name]:
            return f"There is no {name} on {triples.host_triple(tvm)}."
    return ""
