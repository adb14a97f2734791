"""Functions a device offers over RPC besides TVM's own; importing this module registers them."""

from __future__ import annotations

import json

import tvm_ffi

from rpc.facts import device_facts


@tvm_ffi.register_global_func("tunesmith.device_facts", override=True)
def _device_facts() -> str:
    return json.dumps(device_facts())
