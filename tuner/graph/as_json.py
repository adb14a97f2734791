"""Modules and functions as JSON, as imports, records and build jobs hold them."""

from __future__ import annotations

from typing import Any

import tvm
from tvm_ffi.serialization import from_json_graph_str

_OURS = f'"tvm_version":"{tvm.__version__}"'
_END = 200  # characters at the end that hold the version


def from_json(text: str) -> Any:
    """What ``tvm.ir.save_json`` wrote. Only what another release wrote is brought into this one's form first, which
    takes ten times as long as reading."""
    return from_json_graph_str(text) if _OURS in text[-_END:] else tvm.ir.load_json(text)
