"""Times built candidates on a device, in one RPC session a batch, and says of each what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from rpc.errors import SessionLost
from rpc.lease import lease

COLD_WEIGHT_BYTES = 128 * 1024  # constants at least this large are measured out of cache, as a whole model finds them
_HOPELESS = 1.2  # a first look this many times slower than the best is the last look
_MIN_REPEAT_MS = 2
_FIRST_LOOK, _FULL_LOOK = 2, 5  # repeats; the second look adds what the first lacks
# What a session may take: to connect, time the canary and fill the arguments; then for each probe to send and load it,
# and to run it, seven times when it is among the best.
_SESSION_SEC, _PROBE_SEC, _RUNS = 20.0, 2.0, 100


@dataclass(frozen=True)
class DeviceAddress:
    """Where a device is had: tracker, key, and the deadlines in seconds of the wait and of one session.

    ``kind`` is TVM's name of what kernels run on there: ``cpu``, ``metal``, ``cuda``.
    """

    tracker_host: str
    tracker_port: int
    key: str
    lease_timeout_sec: float
    session_timeout_sec: float
    kind: str = "cpu"

    def of(self, remote: Any) -> Any:
        """The TVM device of a session."""
        return remote.device(self.kind, 0)

    def lease(self) -> Any:
        """A context manager that yields a session; see ``rpc.lease.lease``."""
        return lease(self.tracker_host, self.tracker_port, self.key, self.lease_timeout_sec, self.session_timeout_sec)


@dataclass(frozen=True)
class Probe:
    """A library to time: its path here and its arguments as (shape, dtype); ``number`` tells it in results."""

    number: int
    path: str
    arguments: Sequence[tuple[tuple[int, ...], str]]


@dataclass(frozen=True)
class Measured:
    """Seconds of each repeat, or what went wrong: ``run`` (an error), ``crash`` or ``timeout`` (of the device)."""

    run_secs: list[float] = field(default_factory=list)
    error_class: str = ""
    error: str = ""
    canary_sec: float | None = None

    @property
    def seconds(self) -> float | None:
        """The median of the repeats."""
        return median(self.run_secs) if self.run_secs else None


def evaluator_settings(cold_weights: bool) -> dict[str, Any]:
    """How repeats are taken, as records keep it."""
    if cold_weights:
        return {"number": 1, "repeat": _FULL_LOOK, "min_repeat_ms": 0, "cold_weights": True}
    return {"number": 1, "repeat": _FULL_LOOK, "min_repeat_ms": _MIN_REPEAT_MS, "cold_weights": False}


def measure(
    device: DeviceAddress,
    probes: Sequence[Probe],
    cold_weights: bool,
    canary_path: str | None,
    best_sec: float | None,
    on_result: Callable[[Probe, Measured], None],
) -> None:
    """Time every probe and hand each result over as soon as it is there.

    When a session ends under a probe, the rest go on in a new one. The probe may be innocent: the device was killed, or
    others had used the time up. It is tried once more after all others, alone; only if that session ends too, or if it
    hung for most of the first, it is told a crash or a timeout.
    ``best_sec`` is the fastest known: what is far slower gets a short look only.

    Raises:
        DeviceUnavailable: no device; probes without a result are simply not measured.
    """
    left, suspects = list(probes), list[Probe]()
    while left or suspects:
        alone = not left
        waiting = left or [suspects.pop(0)]
        limit_sec = session_sec(device, len(waiting), best_sec)
        began = time.monotonic()
        try:
            with replace(device, session_timeout_sec=limit_sec).lease() as remote:
                canary_sec = _time_canary(remote, device, canary_path) if canary_path else None
                arguments = _Arguments(remote, device)
                while waiting:
                    began = time.monotonic()
                    result = _time(remote, device, arguments, waiting[0], cold_weights, best_sec, canary_sec)
                    on_result(waiting.pop(0), result)
                    if result.seconds is not None:
                        best_sec = min(best_sec or result.seconds, result.seconds)
        except SessionLost as lost:
            if not waiting:
                continue
            probe = waiting.pop(0)
            hung = lost.timed_out and time.monotonic() - began > limit_sec / 2
            if alone or hung:
                on_result(probe, Measured(error_class="timeout" if lost.timed_out else "crash", error=lost.message))
            else:
                suspects.append(probe)


def session_sec(device: DeviceAddress, probes: int, best_sec: float | None) -> float:
    """Deadline in seconds of a session that times so many probes: a multiple of what they take on a slow device far
    away, so that one that hangs costs no more; the device's own limit while nobody knows how long a run takes."""
    if best_sec is None:
        return device.session_timeout_sec
    return min(device.session_timeout_sec, _SESSION_SEC + probes * (_PROBE_SEC + _RUNS * best_sec))


class _Arguments:
    """Device arrays with random contents, made once per session: candidates differ in the shape of an argument, not in
    its size, and filling a weight takes longer than timing a kernel with it."""

    def __init__(self, remote: Any, device: DeviceAddress) -> None:
        self._device = device.of(remote)
        self._fill = remote.get_function("tvm.contrib.random.random_fill")
        self._arrays: dict[tuple[int, str, int], Any] = {}

    def of(self, probe: Probe) -> list[Any]:
        """Arrays for a probe; integers are zeros, which index anything safely."""
        return [self._array(shape, dtype, i) for i, (shape, dtype) in enumerate(probe.arguments)]

    def _array(self, shape: tuple[int, ...], dtype: str, position: int) -> Any:
        import tvm

        key = (prod(shape), dtype, position)
        if key not in self._arrays:
            if dtype.startswith("float"):
                array = tvm.runtime.empty(shape, dtype, self._device)
                self._fill(array)
            else:
                array = tvm.runtime.tensor(np.zeros(shape, dtype), self._device)
            self._arrays[key] = array
        return self._arrays[key]._create_view(shape)


def load_library(remote: Any, path: str, name: str = "") -> Any:
    """Send a library to the device and load it there.

    ``name``, by default the file's own, must be new to the session: a loaded library's file must not change.
    """
    file = Path(path)
    name = name or file.name
    remote.upload(bytearray(file.read_bytes()), name)  # given a path, TVM leaves the file open
    return remote.load_module(name)


def _time(
    remote: Any,
    device: DeviceAddress,
    arguments: _Arguments,
    probe: Probe,
    cold: bool,
    best_sec: float | None,
    canary_sec: float | None,
) -> Measured:
    try:
        module = load_library(remote, probe.path)
        arrays = arguments.of(probe)
        secs = _repeats(module, remote, device, arrays, cold, _FIRST_LOOK)
        if best_sec is None or median(secs) < best_sec * _HOPELESS:
            secs += _repeats(module, remote, device, arrays, cold, _FULL_LOOK - _FIRST_LOOK)
        return Measured(run_secs=secs, canary_sec=canary_sec)
    except Exception as failure:
        _raise_if_lost(remote, failure)
        return Measured(error_class="run", error=str(failure).strip()[-500:], canary_sec=canary_sec)


def _repeats(
    module: Any, remote: Any, device: DeviceAddress, arrays: list[Any], cold: bool, repeat: int
) -> list[float]:
    cold = cold and device.kind == "cpu"  # caches of other devices can't be flushed from here
    evaluator = module.time_evaluator(
        "main",
        device.of(remote),
        number=1,
        repeat=repeat,
        min_repeat_ms=0 if cold else _MIN_REPEAT_MS,
        f_preproc="cache_flush_cpu_non_first_arg" if cold else "",
    )
    return [float(sec) for sec in evaluator(*arrays).results]


def _raise_if_lost(remote: Any, failure: Exception) -> None:
    """Let ``lease`` name a lost session; an error of the candidate's own leaves the session alive."""
    try:
        remote.cpu(0).sync()
    except Exception:
        raise failure from None


def _time_canary(remote: Any, device: DeviceAddress, path: str) -> float:
    module = load_library(remote, path)
    arrays = _Arguments(remote, device).of(Probe(0, path, CANARY_ARGUMENTS))
    return median(_repeats(module, remote, device, arrays, cold=False, repeat=5))


CANARY_ARGUMENTS = [((64, 256), "float32"), ((256, 256), "float32"), ((64, 256), "float32")]


def canary_module() -> Any:
    """The kernel that tells whether a device runs as fast as before: a small product, one row a task, vectorised."""
    import tvm
    from tvm import te

    (rows, depth), (_, columns) = CANARY_ARGUMENTS[0][0], CANARY_ARGUMENTS[1][0]
    a = te.placeholder((rows, depth), name="a")
    b = te.placeholder((depth, columns), name="b")
    k = te.reduce_axis((0, depth), "k")
    product = te.compute((rows, columns), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="product")
    schedule = tvm.s_tir.Schedule(te.create_prim_func([a, b, product]))
    block = schedule.get_sblock("product")
    i, j, reduction = schedule.get_loops(block)
    outer, inner = schedule.split(j, [None, 16])
    schedule.reorder(i, outer, reduction, inner)
    schedule.parallel(i)
    schedule.vectorize(inner)
    return schedule.mod
