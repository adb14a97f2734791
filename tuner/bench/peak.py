"""A contestant that only multiplies and adds in registers: what operators are compared with, in the same run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm.target import codegen

from tuner.search.peaks import multiply_add
from tuner.search.tiles import cpu_of


def peak_call(threads: int) -> tuple[Callable[[], Any], float]:
    """A call that keeps the multiply-add pipes of ``threads`` cores busy, and its floating-point operations."""
    host = {"kind": "llvm", "mtriple": codegen.llvm_get_system_triple(), "mcpu": codegen.llvm_get_system_cpu()}
    target = tvm.target.Target({**host, "num-cores": threads})
    os.environ.setdefault("TVM_NUM_THREADS", str(threads))
    mod, arguments, flops = multiply_add(cpu_of(target))
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        path = Path(folder) / "peak.so"
        tvm.compile(mod, target=target).export_library(str(path))
        main = tvm.runtime.load_module(str(path))["main"]
    arrays = [tvm.runtime.tensor(np.full(shape, 0.5, dtype)) for shape, dtype in arguments]
    return lambda: main(*arrays), flops
