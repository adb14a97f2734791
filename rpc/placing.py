"""Arguments put where a kernel of a whole model finds them, each time before it is timed; importing registers that.

Timed again and again, a kernel finds its activations where its own last run left them, in the caches of the cores that
read them. In a model the kernel before it has just written them, on whichever cores it shared its own work out to, and
weights come from memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tvm_ffi

PLACE, PLACED = "tunesmith.place", "tunesmith.placed"
WIDTH = 256  # floats of a row that one core writes; the next row is another core's
_FLUSH = "cache_flush_cpu_non_first_arg"

_steps: list[Callable[[], Any]] = []


@tvm_ffi.register_global_func(PLACE, override=True)
def _place(writer: Any, constants: int, *arrays: Any) -> None:
    """Say where arguments are to be: the first ``constants`` arrays in memory, the others as the ``main`` of
    ``writer``, which takes an array ``(rows, WIDTH)`` twice, leaves them; the last is written last. They are float32,
    and have to stay until another call says where others are to be."""
    floats = [_floats(array) for array in arrays]
    _steps.clear()
    if constants:
        _steps.append(partial(tvm_ffi.get_global_func(_FLUSH), _tensor(floats[-1]), *map(_tensor, floats[:constants])))
    for values in floats[constants:]:
        rows = _tensor(values[: len(values) // WIDTH * WIDTH].reshape(-1, WIDTH))
        _steps.append(partial(writer["main"], rows, rows))


@tvm_ffi.register_global_func(PLACED, override=True)
def _placed(*_: Any) -> None:
    """What TVM's evaluator calls with a kernel's arguments before each repeat."""
    for step in _steps:
        step()


def _floats(array: Any) -> np.ndarray:
    """An array's memory. What comes over RPC describes it for as long as the call takes; the memory itself stays."""
    return np.ctypeslib.as_array((ctypes.c_float * array.numel()).from_address(array.data_ptr()))


def _tensor(values: np.ndarray) -> Any:
    """The same memory, as kernels take it."""
    import tvm

    return tvm.runtime.from_dlpack(values)
