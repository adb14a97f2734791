"""The kernels that find a device's peak do the work they are credited with, and are timed once."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from sqlalchemy import Engine

from rpc.facts import device_facts
from tests.support.tiny_imports import local_target
from tuner.db import clock, devices
from tuner.db.engine import read, write
from tuner.db.models import Device
from tuner.kernels.context import make_target
from tuner.kernels.dots import forms_of
from tuner.kernels.precision import LOWER, available
from tuner.kernels.products import cpu_of
from tuner.kernels.tiles import Cpu
from tuner.measuring import peaks
from tuner.measuring.build_process import BuildJob, Built
from tuner.measuring.builder import BuildPool
from tuner.measuring.dot_peaks import dot_products
from tuner.measuring.measure import DeviceAddress, Measured, Probe
from tuner.targets import presets
from tuner.targets.roofline import Peak

NARROW = Cpu(lanes=4, registers=16, cores=1)
WIDE = Cpu(lanes=8, registers=32, cores=2)
FACTS = device_facts()
DEVICE = DeviceAddress("127.0.0.1", 1, "local", 1.0, 1.0)


def run(mod: Any, arguments: peaks.Arguments) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = [rng.random(shape, dtype=np.float32) for shape, _ in arguments]
    tensors = [tvm.runtime.tensor(array) for array in arrays]
    tvm.compile(mod, target=tvm.target.Target("llvm"))["main"](*tensors)
    return [*arrays[:-1], tensors[-1].numpy()]


@pytest.mark.parametrize("cpu", [NARROW, WIDE])
def test_multiply_add_kernel_computes_all_it_counts(cpu: Cpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "_PASSES", 3)
    mod, arguments, flops = peaks.multiply_add(cpu)
    a, b, c = run(mod, arguments)
    assert np.allclose(c, 3 * a.T @ b, rtol=1e-4)
    assert flops == 2 * 3 * a.shape[0] * c.size


@pytest.mark.parametrize("cpu", [NARROW, WIDE])
def test_stream_kernel_reads_all_it_counts(cpu: Cpu) -> None:
    mod, arguments, nbytes = peaks.stream(cpu, 2**18)
    x, y = run(mod, arguments)
    assert np.allclose(y, x.sum(axis=1), rtol=1e-4)
    assert nbytes == x.nbytes == 2**18


@pytest.mark.parametrize("precision", LOWER)
def test_dot_kernels_compute_all_they_count(precision: str) -> None:
    target = make_target(local_target())
    if not forms_of(precision, target):
        pytest.skip(f"this processor has no instructions for {precision}")
    for dot in forms_of(precision, target):
        mod, shapes, flops = dot_products(dot, tasks=2, passes=3)
        ones = {"bf16": 0x3F803F80, "fp16": 0x3C00, "int8": 0x01010101 if dot.constant == "int32" else 0x0101}
        small = np.full(shapes[1][0], ones[precision], dot.constant)
        left = np.random.default_rng(0).integers(0, 3, shapes[0][0]).astype(shapes[0][1])
        if dot.left == "bfloat16":
            left = (left.astype("float32").view("int32") >> 16) * 0x10001  # each of a pair
        tensors = [tvm.runtime.tensor(array) for array in (left, small, np.zeros(shapes[2][0], dot.sums))]
        tvm.compile(mod, target)["main"](*tensors)
        each = left if dot.left != "bfloat16" else np.repeat((left & 0xFFFF) << 16, 2, axis=1).view("float32")
        assert np.allclose(tensors[-1].numpy(), 3 * each.astype("float64").sum(axis=1)[None, :, None])
        assert flops == 2 * 3 * each.shape[1] * tensors[-1].numpy().size


def test_peak_is_measured_once_a_day(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    noon = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    monkeypatch.setattr(clock, "now", lambda _: noon)

    def measure_peak(*args: Any) -> Peak:
        measured.append(args)
        assert list(args[-1].glob("*.so")) == [], "another device's libraries may lie there"
        (args[-1] / "stream.so").write_bytes(b"library")
        return Peak(530.04, 42.0)

    monkeypatch.setattr(peaks, "measure_peak", measure_peak)
    builders = BuildPool(1, 60.0)
    with write(engine) as db:
        devices.seen(db, "local", facts=FACTS)
    for _ in range(2):
        peaks.know_peak(engine, DEVICE, builders, tmp_path)
    builders.close()
    assert len(measured) == 1
    assert list(tmp_path.glob("**/*.so")) == []
    with read(engine) as db:
        row = db.get(Device, "local")
        assert row is not None
        assert row.facts == {**FACTS, "peak": {"gflops": 530.0, "gb_per_sec": 42.0, "measured_on": "2026-03-01"}}


def test_device_that_fails_at_it_is_used_without(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def measure_peak(*args: Any) -> Peak:
        raise RuntimeError("illegal instruction")

    monkeypatch.setattr(peaks, "measure_peak", measure_peak)
    builders = BuildPool(1, 60.0)
    with write(engine) as db:
        devices.seen(db, "local", facts=FACTS)
    peaks.know_peak(engine, DEVICE, builders, tmp_path)
    builders.close()
    assert "illegal instruction" in caplog.text


@pytest.mark.parametrize(("long_sec", "times"), [(10.0, 5), (0.0, 1)])
def test_a_slow_device_is_timed_once_and_a_quick_one_until_it_was_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long_sec: float, times: int
) -> None:
    seconds = iter([0.5, 0.4, 0.3, 0.4, 0.5])

    def measure(device: DeviceAddress, probes: list[Probe], on_result: Any, **options: Any) -> None:
        now = next(seconds)
        for probe in probes:
            on_result(probe, Measured([now, now + 0.1]))

    class Builders:
        def build(self, jobs: list[BuildJob]) -> list[Built]:
            return [Built(job.path) for job in jobs]

    monkeypatch.setattr(peaks, "measure", measure)
    monkeypatch.setattr(peaks, "_LONG_SEC", long_sec)
    peak = peaks.measure_peak(DEVICE, Builders(), FACTS, tmp_path)  # type: ignore[arg-type]
    assert len(list(seconds)) == 5 - times
    _, _, flops = peaks.multiply_add(cpu_of(make_target(presets.known(DEVICE.key, FACTS)[0].tvm)))
    assert peak.gflops == pytest.approx(flops / (0.3 if times == 5 else 0.5) / 1e9)
    assert set(peak.lower) == {*available(make_target(presets.known(DEVICE.key, FACTS)[0].tvm))} - {"fp32"}
