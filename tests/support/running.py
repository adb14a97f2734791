"""Runs modules of kernels as they were prepared."""

from __future__ import annotations

import warnings

import numpy as np
import tvm
from tvm import relax

from tuner.graph.pipeline import Prepared
from tuner.kernels.fallback import schedule_plainly


def computed(prepared: Prepared, hidden: np.ndarray) -> list[np.ndarray]:
    """What a module makes of its input, each kernel by its plain schedule, which is put into the module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tvm's own
        built = relax.build(schedule_plainly(prepared.mod), tvm.target.Target("llvm"))
    out = relax.VirtualMachine(built, tvm.cpu())["main"](*map(tvm.runtime.tensor, (hidden, *prepared.params)))
    return [value.numpy() for value in ([out] if hasattr(out, "numpy") else out)]
