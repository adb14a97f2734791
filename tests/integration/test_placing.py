"""Kernels timed where a model leaves their arguments: on a device, and what that does to the arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm

from rpc.placing import PLACE, PLACED
from tests.support.processes import free_port, patience
from tests.support.rpc_device import agent_process, tracker_process
from tests.support.tiny_imports import local_target
from tests.support.tuning import device, product
from tuner.kernels.workload import buffers_of
from tuner.measuring.build_process import BuildJob
from tuner.measuring.builder import BuildPool
from tuner.measuring.measure import Measured, Probe, measure
from tuner.measuring.placing import Places, Placing, build_writer

TARGET = json.dumps(local_target())


@pytest.fixture(scope="module")
def builders() -> Iterator[BuildPool]:
    pool = BuildPool(workers=1, timeout_sec=patience(20))
    yield pool
    pool.close()


def test_every_repeat_of_a_probe_is_placed_for_itself(builders: BuildPool, tmp_path: Path) -> None:
    mod = product(64, 256, 512)
    job = BuildJob(str(tvm.ir.save_json(mod)), TARGET, str(tmp_path / "product.so"))
    (built,) = builders.build([job])
    placing = Placing(build_writer(builders, TARGET, tmp_path), (1,))
    probes = [Probe(n, built.path, buffers_of(mod["main"]), placing=placing) for n in range(2)]
    found: list[Measured] = []
    number = free_port()
    with tracker_process(number), agent_process(number):
        measure(device(number), probes, False, None, None, lambda _, result: found.append(result))
    assert [one.error for one in found] == ["", ""]
    assert len(found[0].run_secs) == 5
    assert len(found[1].run_secs) in (2, 5)  # the same kernel, which a busy machine makes slower than the first


def test_constants_of_any_kind_are_put_into_memory(tmp_path: Path) -> None:
    """An agent takes floats; what it is given is the same memory, so small numbers are fewer floats."""
    session, writer = RecordingAgent(), tmp_path / "writer.so"
    writer.write_bytes(b"")
    shapes = [((64, 256), "float32"), ((512, 256), "int8"), ((512,), "float32"), ((64, 512), "float32")]
    arrays = [tvm.runtime.empty(shape, dtype) for shape, dtype in shapes]
    assert Places(session).prepare(Placing(str(writer), (1, 2)), shapes, arrays) == PLACED
    (_, constants, *placed) = session.placed
    assert constants == 2
    assert [tuple(one.shape) for one in placed] == [(512 * 256 // 4,), (512,), (64, 256)]
    assert {str(one.dtype) for one in placed} == {"float32"}


def test_placing_an_argument_leaves_its_values(builders: BuildPool, tmp_path: Path) -> None:
    writer = tvm.runtime.load_module(build_writer(builders, TARGET, tmp_path))
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shape).astype(np.float32) for shape in ((64, 64), (3, 256), (5, 200))]
    arrays = [tvm.runtime.tensor(value) for value in values]
    tvm.get_global_func(PLACE)(writer, 1, *arrays)
    tvm.get_global_func(PLACED)()
    for array, value in zip(arrays, values, strict=True):
        np.testing.assert_array_equal(array.numpy(), value)


def test_an_agent_that_can_not_place_arguments_times_them_as_they_lie() -> None:
    places = Places(OlderAgent())
    assert places.prepare(Placing("writer.so", ()), [((4, 256), "float32")], [None]) == ""


class RecordingAgent:
    """A session that keeps what was placed."""

    def get_function(self, name: str) -> Any:
        return self._keep

    def _keep(self, *given: Any) -> None:
        self.placed = given

    def upload(self, *_: Any) -> None:
        pass

    def load_module(self, name: str) -> str:
        return name


class OlderAgent:
    """A session on a device of a release that did not place arguments."""

    def get_function(self, name: str) -> Any:
        raise AttributeError(f"Module has no function '{name}'")
