"""Which libraries of linear algebra targets have, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rpc.blas import LIBRARIES
from rpc.chips import CHIPS
from tuner.errors import TargetUnknown
from tuner.targets.blas import Blas, blas_of, name_of, without_blas
from tuner.targets.presets import known, resolve

M1 = {"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": "apple-m1"}
LINUX = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "apple-m1"}


def test_apples_cpus_have_accelerate_and_nobody_else_has_any() -> None:
    with_any = {target.name: blas_of(target.tvm) for target in known("local") if blas_of(target.tvm)}
    assert set(with_any) == {f"{chip.name}-cpu" for chip in CHIPS}
    assert {one.name for one in with_any.values() if one} == {"accelerate"}


def test_what_a_chips_matrix_units_sustain_is_more_than_its_cores_can() -> None:
    for chip in CHIPS:
        found = blas_of(resolve(f"{chip.name}-cpu", "local").tvm)
        assert found is not None
        assert found.flops_per_cycle is not None
        assert found.flops_per_cycle * chip.cpu_ghz > 600


def test_how_fast_another_library_is_nobody_knows() -> None:
    assert blas_of({**LINUX, "libs": ["openblas"]}) == Blas("openblas", "openblas")


def test_records_are_shared_with_and_without() -> None:
    target = resolve("m1-cpu", "local")
    assert resolve(json.dumps(without_blas(target.tvm)), "local").family == target.family


@pytest.mark.parametrize("text", ["-libs=accelerate", "-libs accelerate", "--libs=accelerate"])
def test_a_library_may_be_chosen_as_tvmc_took_it(text: str) -> None:
    written = resolve(f"llvm -mtriple=arm64-apple-macos -mcpu=apple-m1 -num-cores=4 {text}", "local")
    named = resolve("m1-cpu", "local")
    assert (written.tvm, written.family, written.device_key) == (named.tvm, named.family, named.device_key)
    assert blas_of(written.tvm) == blas_of(named.tvm)


def test_none_and_another_are_chosen_so_too() -> None:
    assert blas_of(resolve("llvm -mtriple=arm64-apple-macos -mcpu=apple-m1", "local").tvm) is None
    linux = resolve("llvm -mtriple=aarch64-linux-gnu -mcpu=apple-m1 -libs=openblas", "local")
    assert (name_of(linux.tvm), linux.device_key) == ("openblas", "linux-arm64")
    with pytest.raises(TargetUnknown, match="no accelerate on aarch64-linux-gnu"):
        resolve("llvm -mtriple=aarch64-linux-gnu -libs=accelerate", "local")
    with pytest.raises(TargetUnknown, match="a list of one name"):
        resolve("llvm -mtriple=arm64-apple-macos -libs=accelerate,openblas", "local")


def test_each_has_a_file_to_load() -> None:
    assert {name_of({**M1, "libs": ["accelerate"]}), name_of({**LINUX, "libs": ["openblas"]})} == set(LIBRARIES)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({**M1, "libs": ["mkl"]}, "'mkl'; known are accelerate and openblas"),
        ({**M1, "libs": ["openblas"]}, "no openblas on arm64-apple-macos"),
        ({**LINUX, "libs": ["accelerate"]}, "no accelerate on aarch64-linux-gnu"),
        ({**M1, "libs": "accelerate"}, "a list of one name"),
        ({**M1, "libs": [3]}, "a list of one name"),
    ],
)
def test_a_library_that_can_not_be_there_is_refused(target: dict[str, Any], said: str) -> None:
    with pytest.raises(TargetUnknown, match=said):
        resolve(json.dumps(target), "local")
