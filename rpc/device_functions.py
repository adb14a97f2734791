"""Functions a device offers over RPC besides TVM's own; importing this module registers them."""

from __future__ import annotations

import json
from math import prod
from typing import Any

import tvm_ffi

from rpc import blas, huge_pages
from rpc.facts import device_facts
from rpc.uniform import uniform


@tvm_ffi.register_global_func("tunesmith.device_facts", override=True)
def _device_facts() -> str:
    return json.dumps(device_facts())


@tvm_ffi.register_global_func("tunesmith.fill_uniform", override=True)
def _fill_uniform(array: Any, seed: int, low: float, high: float) -> None:
    array.copyfrom(uniform(tuple(array.shape), str(array.dtype), seed, low, high))


@tvm_ffi.register_global_func(blas.ASK, override=True)
def _load_blas(name: str) -> None:
    blas.load_blas(name)


@tvm_ffi.register_global_func(huge_pages.ASK, override=True)
def _ask_for_huge_pages(array: Any) -> None:
    """Before anything is written to it. Over RPC it is a view that owns nothing: numpy can't take it."""
    huge_pages.ask(array.data_ptr(), prod(array.shape) * array.dtype.itemsize)
