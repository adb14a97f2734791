"""The tensor intrinsics that DLight asks for, without those of all other targets."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import PathFinder

import tvm.s_tir

_PACKAGE = "tvm.s_tir.tensor_intrin"


def import_on_demand() -> None:
    """Let a later import of one target's intrinsics load those alone.

    The package itself makes the intrinsics of every target when it is imported: 15 s, and minutes where transformers
    and PyTorch are loaded, as each one searches all loaded modules. Here it stays an empty package.
    """
    if _PACKAGE not in sys.modules:
        spec = PathFinder.find_spec(_PACKAGE, tvm.s_tir.__path__)
        assert spec is not None
        sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
