"""A kernel timed as a model finds it: its constants in memory, its activations where another kernel left them.

What a core reads of them lies by halves in another core's caches. That is no trifle for a kernel of some ten
microseconds: a layer norm of a MiniLM at 384 tokens takes 30 us in the model, 31 placed so, and 17 where its own last
run read the same values (two Zen 4 cores). Nor is it for one of some hundred, whose weights come from memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import tvm
from tvm import te, tirx

from rpc.placing import PLACE, PLACED, WIDTH
from tuner.kernels.blocks import layout_free
from tuner.measuring.build_process import BuildJob
from tuner.measuring.builder import BuildPool
from tuner.measuring.timing import Shapes, load_library

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Placing:
    """How a kernel's arguments are placed: by the library ``writer``, which says what other kernels leave behind;
    ``constants`` are the places of those that a model keeps in memory."""

    writer: str
    constants: tuple[int, ...]


class Places:
    """Places arguments in a session on a device."""

    def __init__(self, remote: Any) -> None:
        self._remote = remote
        self._writers: dict[str, Any] = {}

    def prepare(self, placing: Placing, shapes: Shapes, arrays: Sequence[Any]) -> str:
        """Name of what TVM's evaluator has to call there before each repeat with these arrays; empty where an agent of
        an earlier release knows none."""
        try:
            place = self._remote.get_function(PLACE)
        except AttributeError:
            return ""
        if placing.writer not in self._writers:
            self._writers[placing.writer] = load_library(self._remote, placing.writer)
        left = [
            arrays[n]
            for n, (shape, dtype) in reversed(list(enumerate(shapes[:-1])))  # the result is nobody's before it is made
            if n not in placing.constants and dtype == "float32" and prod(shape) >= WIDTH
        ]
        constants = [_as_floats(arrays[n]) for n in placing.constants]
        place(self._writers[placing.writer], len(constants), *constants, *left)
        return PLACED


def _as_floats(array: Any) -> Any:
    """An array's memory as an agent takes it, whatever it holds."""
    return array._create_view((prod(array.shape) * array.dtype.itemsize // _FLOAT_BYTES,), "float32")


def build_writer(builders: BuildPool, target: str, folder: Path) -> str:
    """Build what stands for a kernel's predecessor, for a target as JSON; empty where it does not build."""
    module = str(tvm.ir.save_json(_writer(int(json.loads(target).get("num-cores") or 1))))
    (built,) = builders.build([BuildJob(module, target, str(folder / "writer.so"))])
    return built.path


def constants_of(mod: Any) -> tuple[int, ...]:
    """Places of the constants among the arguments of a module's ``main``."""
    return tuple(sorted(layout_free(mod["main"])))


def _writer(cores: int) -> Any:
    """Rewrites a buffer ``(rows, WIDTH)``, given twice, with its own values, every core each so-manieth row."""
    rows = te.var("rows", "int64")
    read = te.placeholder((rows, WIDTH), name="read")
    same = te.compute((rows, WIDTH), lambda i, j: te.max(read[i, j], tirx.const(-3e38, "float32")), name="same")
    function = te.create_prim_func([read, same]).with_attr("tirx.noalias", False)
    schedule = tvm.s_tir.Schedule(tvm.IRModule({"main": function}))
    row, column = schedule.get_loops(schedule.get_sblock("same"))
    turn, core = schedule.split(row, [None, cores])
    schedule.reorder(core, turn, column)
    schedule.parallel(core)
    schedule.vectorize(schedule.split(column, [None, 16])[1])
    return schedule.mod
