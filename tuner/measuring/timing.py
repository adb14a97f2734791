"""How a library is brought to a device and timed there, by an RPC session."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from rpc import huge_pages
from tuner.measuring.repeats import Repeats

Shapes = Sequence[tuple[tuple[int, ...], str]]  # of arguments, with their dtypes


def load_library(remote: Any, path: str, name: str = "") -> Any:
    """Send a library to the device and load it there.

    ``name``, by default the file's own, must be new to the session: a loaded library's file must not change.
    """
    file = Path(path)
    name = name or file.name
    remote.upload(bytearray(file.read_bytes()), name)  # given a path, TVM leaves the file open
    return remote.load_module(name)


class Arguments:
    """Device arrays with random contents, made once per session: candidates differ in the shape of an argument, not in
    its size, and filling a weight takes longer than timing a kernel with it. ``as_loaded``: large ones lie in huge
    pages, as an artifact's weights do on a CPU."""

    def __init__(self, remote: Any, device: Any, as_loaded: bool = False) -> None:
        self._device = device
        self._place = remote.get_function(huge_pages.ASK) if as_loaded else None
        self._fill = remote.get_function("tvm.contrib.random.random_fill")
        self._arrays: dict[tuple[int, str, int], Any] = {}

    def of(self, shapes: Shapes) -> list[Any]:
        """An array for each shape and dtype; integers are zeros, which index anything safely."""
        return [self._array(shape, dtype, i) for i, (shape, dtype) in enumerate(shapes)]

    def _array(self, shape: tuple[int, ...], dtype: str, position: int) -> Any:
        import tvm

        key = (prod(shape), dtype, position)
        if key not in self._arrays:
            if dtype.startswith("float"):
                array = tvm.runtime.empty(shape, dtype, self._device)
                if self._place is not None and key[0] * array.dtype.itemsize >= huge_pages.SIZE:
                    self._place(array)
                self._fill(array)
            else:
                array = tvm.runtime.tensor(np.zeros(shape, dtype), self._device)
            self._arrays[key] = array
        return self._arrays[key]._create_view(shape)


def repeats(module: Any, device: Any, arrays: list[Any], flush: bool, wanted: Repeats, placed: str = "") -> list[float]:
    """Seconds of each run of the library's ``main`` on a TVM device; ``flush``: with cold caches, which is for CPUs;
    ``placed`` names a function there that puts the arguments where they shall be before each."""
    evaluator = module.time_evaluator(
        "main",
        device,
        number=1,
        repeat=wanted.count,
        min_repeat_ms=0 if flush or placed else wanted.min_ms,
        f_preproc=placed or ("cache_flush_cpu_non_first_arg" if flush else ""),
    )
    return [float(sec) for sec in evaluator(*arrays).results]
