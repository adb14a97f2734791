"""Does a candidate compute what its workload says? Compared on the device with the workload by its plain schedule.

That one is what the untuned module is made of, which is itself compared with PyTorch; bare loops would take seconds for
each of the inputs. What a GPU must give is computed by the CPU beside it.
"""

from __future__ import annotations

import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tvm

from rpc.drafts import draft
from rpc.errors import SessionLost
from rpc.uniform import uniform
from tuner.graph.attention_kernel import attention_of
from tuner.importers.families import PADDING_BIAS
from tuner.kernels.context import make_target
from tuner.kernels.defaults import default_schedule
from tuner.kernels.extents import shapes, variables
from tuner.kernels.precision import precision_of
from tuner.kernels.workload import layout_free, written_arguments
from tuner.measuring.agreement import difference
from tuner.measuring.build_process import BuildJob, Built
from tuner.measuring.builder import BuildPool
from tuner.measuring.measure import DeviceAddress
from tuner.measuring.timing import load_library
from tuner.targets import triples

# Sums of up to a few thousand products in another order: relative to the largest output.
_TOLERANCE = {"float16": 2e-2, "float32": 1e-4}
# Products whose operands are rounded, to 8 bits of mantissa, or to 255 steps of a row's range.
_ROUNDED = {"bf16": 2e-2, "fp16": 2e-2, "int8": 6e-2}
# Magnitudes of what flows in: "large" as scores and activations of real models reach, "masked" with all padded.
_KINDS = {"random": 1.0, "zeros": 0.0, "large": 1e3, "masked": 1.0}
_LARGEST = {"float16": 10.0}  # the sums must not overflow
_TOKENS = 37  # of the text that kernels are checked with where lengths vary: blocks of two sizes, and a part of a panel


class Candidate(Protocol):
    """What can be checked: a scheduled module as JSON, and a name for its files. ``tir_to_check`` is set where the
    module takes other arguments than the workload, and is the same with those."""

    @property
    def id(self) -> str: ...

    @property
    def tir(self) -> str: ...

    @property
    def tir_to_check(self) -> str: ...


class Problem(NamedTuple):
    """Why a candidate is not to be used: the error class of its record, and the reason in words."""

    error_class: str
    text: str

    def __str__(self) -> str:
        return self.text


RIGHT = Problem("", "")


class Input(NamedTuple):
    """An argument: what ``rpc.uniform`` makes of this, here or on the device."""

    shape: tuple[int, ...]
    dtype: str
    seed: int
    low: float
    high: float

    def values(self) -> np.ndarray:
        """The argument here."""
        return uniform(*self)


class OutputCheck:
    """Random and edge ``inputs`` of one workload, by kind, with the outputs they must give; made with the first check.

    Each device makes its inputs itself: sending the weights would take longer than all else here.
    """

    def __init__(self, mod: Any, target: str, device: DeviceAddress, builders: BuildPool, folder: Path) -> None:
        self._mod = mod
        self._target = target
        self._device = device
        self._builders = builders
        self._folder = folder
        self._buffers = shapes(mod["main"], dict.fromkeys(variables(mod["main"]), 1) | {"tokens": _TOKENS})
        self._constants = layout_free(mod["main"])
        self._outputs = written_arguments(mod)
        kinds = [kind for kind in _KINDS if kind != "masked" or any(self._masks)]
        self.inputs = {kind: self._inputs(kind) for kind in kinds}

    @cached_property
    def expected(self) -> dict[str, list[np.ndarray]]:
        """The outputs that each kind of input must give. Raises RuntimeError when the plain schedule does not build."""
        target = dict(triples.host_of(json.loads(self._target)) or {"kind": "llvm"})
        plain = self._mod  # attention's own definition runs as it is
        if attention_of(self._mod["main"]) is None:
            plain = tvm.IRModule({"main": default_schedule(self._mod["main"], make_target(target))})
        with draft(self._folder) as folder:
            built = self._build(str(tvm.ir.save_json(plain)), json.dumps(target), folder / "expected.so")
            if built.error_class:
                raise RuntimeError(f"the build to check outputs with failed: {built.error}")
            return self._run(built.path, by_cpu=True)

    def problem_of(self, candidate: Candidate, folder: Path) -> Problem | None:
        """What is wrong with the candidate's outputs, or None."""
        tir = candidate.tir_to_check or candidate.tir
        built = self._build(tir, self._target, folder / candidate.id / f"{candidate.id}-check.so")
        if built.error_class:
            return Problem(built.error_class, f"it does not build as it is checked: {built.error}")
        expected = self.expected
        try:
            got = self._run_twice_if_lost(built.path)
        except SessionLost as lost:
            text = f"it ends the device's session when its outputs are checked: {lost.message}"
            return Problem("timeout" if lost.timed_out else "crash", text)
        except RuntimeError as failure:  # TVM's are, of many classes
            return Problem("run", f"it fails when its outputs are checked: {str(failure).strip()[-500:]}")
        pairs = (pair for kind, wanted in expected.items() for pair in zip(got[kind], wanted, strict=True))
        found = (difference(result, wanted, self._tolerance(wanted)) for result, wanted in pairs)
        return next((Problem("wrong", text) for text in found if text), None)

    def _tolerance(self, wanted: np.ndarray) -> float:
        return _ROUNDED.get(precision_of(self._mod["main"]), _TOLERANCE.get(str(wanted.dtype), 0.0))

    @property
    def _masks(self) -> list[bool]:
        """Which arguments are broadcast over heads and rows, as a mask is."""
        rank = max(len(shape) for shape, _ in self._buffers)
        return [len(shape) == rank and 1 in shape[1:] for shape, _ in self._buffers]

    def _build(self, tir: str, target: str, path: Path) -> Built:
        (built,) = self._builders.build([BuildJob(tir, target, str(path), rewritten_arguments=False)])
        return built

    def _inputs(self, kind: str) -> dict[int, Input]:
        """The arguments of a kind by position; see ``_KINDS``. Constants are the same for all."""
        found = {}
        for seed, ((shape, dtype), is_mask) in enumerate(zip(self._buffers, self._masks, strict=True)):
            if seed in self._outputs:
                continue
            if dtype.startswith("int"):  # where texts start
                found[seed] = Input(shape, dtype, seed, 0.0, 0.0)
                continue
            largest = 1.0 if seed in self._constants else min(_KINDS[kind], _LARGEST.get(dtype, np.inf))
            low, high = (-PADDING_BIAS,) * 2 if kind == "masked" and is_mask else (-largest, largest)
            found[seed] = Input(shape, dtype, seed, low, high)
        return found

    def _run_twice_if_lost(self, path: str) -> dict[str, list[np.ndarray]]:
        """Outputs of a candidate; perhaps the device was killed: only who ends two sessions is to blame."""
        try:
            return self._run(path)
        except SessionLost:
            return self._run(path)

    def _run(self, path: str, by_cpu: bool = False) -> dict[str, list[np.ndarray]]:
        """Outputs of a library for each kind of input."""
        with self._device.lease() as remote:
            function = load_library(remote, path)["main"]
            device = remote.cpu(0) if by_cpu else self._device.of(remote)
            fill = remote.get_function("tunesmith.fill_uniform")
            arguments = [tvm.runtime.empty(shape, dtype, device) for shape, dtype in self._buffers]
            filled: dict[int, Input] = {}
            results = {}
            for kind, inputs in self.inputs.items():
                for n, given in inputs.items():
                    if given != filled.get(n):
                        fill(arguments[n], given.seed, given.low, given.high)
                        filled[n] = given
                for n in self._outputs:
                    if self._buffers[n][1].startswith("float"):
                        fill(arguments[n], 0, math.nan, math.nan)  # what it leaves unwritten is not what was there
                function(*arguments)
                results[kind] = [arguments[n].numpy() for n in self._outputs]
            return results
