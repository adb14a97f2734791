"""Where kernels run, read from what TVM built: its virtual machine's listing and a GPU's code."""

from __future__ import annotations

import pytest

from tuner.graph.places import in_words, places

LISTING = """@main:
  call  vm.builtin.check_tensor_info in: %0, i1, c[0], c[1] dst: %void
  call  vm.builtin.to_device in: %0, i8, i0, c[2] dst: %1
  call  layer_norm1      in: %1, %1, %3   dst: %void
  call  add1             in: %1, %1, %3   dst: %void
  call  layer_norm1      in: %3, %1, %3   dst: %void
  call  vm.builtin.to_device in: %3, i1, i0, c[2] dst: %4
  call  gather           in: %4, %4, %6   dst: %void
  ret   %6

@vm.builtin.to_device packed_func;

@layer_norm1 packed_func;
"""
METAL = """// Function: layer_norm1_kernel
kernel void layer_norm1_kernel(  device float* y [[ buffer(0) ]]) { }
kernel void layer_norm1_kernel_1(  device float* y [[ buffer(0) ]]) { }
kernel void add1_kernel(device float* T_add_ptr [[ buffer(0) ]]) { }
"""
CUDA = 'extern "C" __global__ void __launch_bounds__(256) add1_kernel(float* __restrict__ T_add) {\n'


def test_kernels_with_code_for_the_gpu_run_there_and_others_on_the_host() -> None:
    found = places(LISTING, METAL, "metal")
    assert found.kernels == {"layer_norm1": "metal", "add1": "metal", "gather": "cpu"}
    assert found.launches == {"metal": 3, "cpu": 1}
    assert found.host_copies == 2


def test_cuda_writes_its_kernels_otherwise() -> None:
    assert places(LISTING, CUDA, "cuda").kernels["add1"] == "cuda"


def test_without_code_for_a_gpu_all_run_on_the_host() -> None:
    assert places(LISTING, "", "llvm").launches == {"cpu": 4}


def test_a_manifest_names_workloads() -> None:
    kept = places(LISTING, METAL, "metal").by_workload({"add1": "wl-1", "gather": "wl-2"})
    assert kept == {"kernels": {"wl-1": "metal", "wl-2": "cpu"}, "launches": {"metal": 3, "cpu": 1}, "host_copies": 2}


@pytest.mark.parametrize(
    ("launches", "copies", "said"),
    [
        ({"cpu": 4}, 0, "all 4 launches on the cpu"),
        ({"metal": 4}, 0, "4 launches on metal, none on the cpu; nothing copied between host and device in between"),
        ({"metal": 4}, 1, "4 launches on metal, none on the cpu; 1 tensor copied between host and device in between"),
        ({"metal": 3, "cpu": 1}, 2, "3 launches on metal, 1 on the cpu; 2 tensors copied between host and device in"),
    ],
)
def test_it_is_told_in_a_line(launches: dict[str, int], copies: int, said: str) -> None:
    assert said in in_words({"launches": launches, "host_copies": copies})
