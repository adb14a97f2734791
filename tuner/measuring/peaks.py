"""What a device does at most, as measured: the two lines of a roofline (Williams et al., CACM 2009)."""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import tvm
from sqlalchemy import Engine
from tvm import te

from rpc.drafts import draft
from tuner.db import devices
from tuner.db.engine import read, write
from tuner.db.models import Device
from tuner.kernels.context import make_target
from tuner.kernels.dots import forms_of
from tuner.kernels.precision import LOWER
from tuner.kernels.products import cpu_of
from tuner.kernels.tiles import Cpu
from tuner.measuring.build_process import BuildJob
from tuner.measuring.builder import BuildPool
from tuner.measuring.dot_peaks import dot_products
from tuner.measuring.measure import DeviceAddress, Measured, Probe, measure
from tuner.targets import presets
from tuner.targets.roofline import Peak

log = logging.getLogger(__name__)

_DEPTH = 64  # of the operands, so that they stay in the first-level cache
_PASSES = 2000  # over them: a millisecond or so, next to which starting threads is nothing
_TASKS_PER_CORE = 4
_CACHES = 4  # times the largest cache: what is streamed must come from memory
_MIN_STREAM_BYTES = 64 * 2**20
_ROUNDS = 5  # one of them will be quiet
_LONG_SEC = 10.0  # whatever takes so long is as slow as it looks


def know_peak(engine: Engine, device: DeviceAddress, builders: BuildPool, folder: Path) -> None:
    """Measure the device's peak, unless that was done within a day; libraries are built below ``folder``.

    The best of all days counts: a noisy minute can only show too little.

    A device that fails at it is used without: only a plot and a column stay empty. Raises DeviceUnavailable of
    ``rpc.errors`` when the device does not come.
    """
    with read(engine) as db:
        row = db.get(Device, device.key)
        facts = dict(row.facts) if row else {}
        is_known = devices.knows_peak_of_today(db, facts)
    if not facts or is_known:
        return
    try:
        with draft(folder) as scratch:  # another worker may measure another device
            peak = measure_peak(device, builders, facts, scratch)
    except RuntimeError as failure:
        log.warning("the peak of %s stays unknown: %s", device.key, failure)
        return
    with write(engine) as db:
        devices.put_peak(db, device.key, peak.as_fact())


def measure_peak(device: DeviceAddress, builders: BuildPool, facts: dict[str, Any], folder: Path) -> Peak:
    """Time the two kernels below, and one of each instruction for a lower precision, on a device that has these facts:
    five times, or for ten seconds where that is less.

    Raises RuntimeError when one does not work.
    """
    target = presets.known(device.key, facts)[0].tvm
    cpu = cpu_of(make_target(target))
    stream_bytes = max(_MIN_STREAM_BYTES, _CACHES * max(facts.get("cache_bytes", {}).values(), default=0))
    kernels = {"multiply-add": multiply_add(cpu), "stream": stream(cpu, stream_bytes)}
    forms = [dot for precision in LOWER for dot in forms_of(precision, make_target(target))]
    kernels |= {dot.name: dot_products(dot, _TASKS_PER_CORE * cpu.cores, _PASSES) for dot in forms}
    jobs = [
        BuildJob(str(tvm.ir.save_json(mod)), json.dumps(target), str(folder / f"{name}.so"))
        for name, (mod, _, _) in kernels.items()
    ]
    seconds: dict[int, float] = {}
    probes = []
    for number, (built, (_, arguments, _)) in enumerate(zip(builders.build(jobs), kernels.values(), strict=True)):
        if built.error_class:
            raise RuntimeError(built.error)
        probes.append(Probe(number, built.path, arguments))

    def keep(probe: Probe, result: Measured) -> None:
        if result.error_class:
            raise RuntimeError(f"{result.error_class}: {result.error}")
        seconds[probe.number] = min([*result.run_secs, seconds.get(probe.number, math.inf)])

    began = time.monotonic()
    for _ in range(_ROUNDS):
        measure(device, probes, cold_weights=False, time_canary=None, best_sec=None, on_result=keep)
        if time.monotonic() - began > _LONG_SEC:
            break
    rates = [amount / seconds[n] / 1e9 for n, (_, _, amount) in enumerate(kernels.values())]
    lower: dict[str, float] = {}
    for dot, gflops in zip(forms, rates[2:], strict=True):
        lower[dot.precision] = max(gflops, lower.get(dot.precision, 0.0))
    return Peak(rates[0], rates[1], lower=lower)


Arguments = list[tuple[tuple[int, ...], str]]


def multiply_add(cpu: Cpu) -> tuple[Any, Arguments, float]:
    """Fused multiply-adds on operands in the first-level cache, all accumulators in registers.

    Returns the module, its arguments, and the floating-point operations of one launch.
    """
    rows, vectors = (8, 3) if cpu.registers >= 32 else (6, 2)
    tasks, columns = _TASKS_PER_CORE * cpu.cores, vectors * cpu.lanes
    a = te.placeholder((_DEPTH, rows), name="a")
    b = te.placeholder((_DEPTH, columns), name="b")
    passes, k = te.reduce_axis((0, _PASSES), "passes"), te.reduce_axis((0, _DEPTH), "k")
    c = te.compute((tasks, rows, columns), lambda t, r, j: te.sum(a[k, r] * b[k, j], axis=[passes, k]), name="c")
    sch = tvm.s_tir.Schedule(te.create_prim_func([a, b, c]))
    block = sch.get_sblock("c")
    task, row, column, outer, inner = sch.get_loops(block)
    vector, lane = sch.split(column, [None, cpu.lanes])
    sch.reorder(task, outer, inner, row, vector, lane)
    sch.reverse_compute_at(sch.cache_write(block, 0, "global"), task)
    sch.parallel(task)
    _in_registers(sch, row, vector, lane)
    init = sch.decompose_reduction(block, outer)
    _in_registers(sch, *sch.get_loops(init)[-3:])
    arguments: Arguments = [((_DEPTH, rows), "float32"), ((_DEPTH, columns), "float32")]
    return sch.mod, [*arguments, ((tasks, rows, columns), "float32")], 2.0 * tasks * _PASSES * _DEPTH * rows * columns


def stream(cpu: Cpu, size_bytes: int) -> tuple[Any, Arguments, float]:
    """The sum of an array of about ``size_bytes``: a model at work reads, most of all its weights.

    Returns the module, its arguments, and the bytes that one launch reads.
    """
    width = 8 * cpu.lanes  # as many independent sums as hide an addition's latency
    tasks = _TASKS_PER_CORE * cpu.cores
    length = size_bytes // (4 * tasks * width)
    x = te.placeholder((tasks, length, width), name="x")
    k = te.reduce_axis((0, length), "k")
    y = te.compute((tasks, width), lambda t, i: te.sum(x[t, k, i], axis=k), name="y")
    sch = tvm.s_tir.Schedule(te.create_prim_func([x, y]))
    block = sch.get_sblock("y")
    task, column, reduction = sch.get_loops(block)
    vector, lane = sch.split(column, [None, cpu.lanes])
    sch.reorder(task, reduction, vector, lane)
    sch.reverse_compute_at(sch.cache_write(block, 0, "global"), task)
    sch.parallel(task)
    _in_registers(sch, vector, lane)
    init = sch.decompose_reduction(block, reduction)
    _in_registers(sch, *sch.get_loops(init)[-2:])
    shapes: Arguments = [((tasks, length, width), "float32"), ((tasks, width), "float32")]
    return sch.mod, shapes, 4.0 * tasks * length * width


def _in_registers(sch: Any, *loops: Any) -> None:
    """Unroll all of these loops but the last, which is one vector."""
    *outer, lane = loops
    sch.vectorize(lane)
    for loop in outer:
        sch.unroll(loop)
