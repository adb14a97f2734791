"""The tensor intrinsics that DLight asks for, without those of all other targets."""

from __future__ import annotations

import importlib.util
import inspect
import linecache
import sys
from importlib.machinery import PathFinder
from types import ModuleType

import tvm.s_tir
from tvm.tirx.script.parser import entry

_PACKAGE = "tvm.s_tir.tensor_intrin"


def import_on_demand() -> None:
    """Let a later import of one target's intrinsics load those alone, and soon.

    The package itself makes the intrinsics of every target when it is imported: 15 s, and minutes where transformers
    and PyTorch are loaded. Here it stays an empty package. Those of Metal alone take 6 s beside transformers, as TVM's
    parser asks ``inspect`` for the whole stack at each, and that looks through all loaded modules for each frame's
    file; by ``linecache``, which is told the file, it is 0.4 s.
    """
    if _PACKAGE not in sys.modules:
        spec = PathFinder.find_spec(_PACKAGE, tvm.s_tir.__path__)
        assert spec is not None
        sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
        entry.inspect = _with_quick_stack()


def _with_quick_stack() -> ModuleType:
    """``inspect``, whose ``stack`` gives the same from what frames say themselves."""
    made = ModuleType(inspect.__name__, inspect.__doc__)
    made.__dict__.update(vars(inspect), stack=stack)
    return made


def stack() -> list[inspect.FrameInfo]:
    """As ``inspect.stack()``, from the caller on."""
    frame, found = inspect.currentframe(), []
    while (frame := frame.f_back if frame else None) is not None:
        code, number = frame.f_code, frame.f_lineno
        line = linecache.getline(code.co_filename, number, frame.f_globals)
        context = ([line], 0) if line else (None, None)
        found.append(inspect.FrameInfo(frame, code.co_filename, number, code.co_name, *context))
    return found
