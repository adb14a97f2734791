"""Importing large libraries as cheaply as it goes: TVM for running kernels only, and without looking for garbage."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader, find_spec, module_from_spec
from types import ModuleType

_SPREADING = "tvm.runtime.disco"


def prepare_lean_import() -> None:
    """Make a later ``import tvm`` load no PyTorch (1.8 s and 386 MB become 0.5 s and 189 MB) and start no thread.

    tvm_ffi imports torch whenever it is installed and takes its absence well; None in ``sys.modules`` is Python's own
    way to say "absent". NumPy's BLAS would start threads at import, and a process with threads must not fork.
    Call it before anything imports tvm or numpy.
    """
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    os.environ["OPENBLAS_NUM_THREADS"] = "1"


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Import in the block as if these were not installed; what is loaded stays, and all are there afterwards."""
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def without_torch() -> AbstractContextManager[None]:
    """Import TVM in the block without PyTorch, which is there again for whoever wants it afterwards."""
    return without("torch")


@contextmanager
def importing() -> Iterator[None]:
    """Import large libraries in the block: what they make stays, and to look for garbage among it takes a quarter of
    TVM's time (0.9 s of a core become 0.7 s), a sixth of all (TVM with PyTorch and transformers: 7.5 s become 6.2 s).
    It is set aside, or Python would look through all of it once more when the process ends, for half a second.

    TVM is loaded without what spreads a model over machines. That part finds each time that a library is missing which
    is loaded after it, and the first error in TVM's libraries takes as long as reading their symbols does: a quarter of
    what was left (1.5 s of a slower core become 1.1 s).
    """
    was_enabled, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        with without(_SPREADING):
            yield
    finally:
        if was_enabled:
            if len(sys.modules) > known:
                gc.freeze()
            gc.enable()


@contextmanager
def importing_transformers() -> Iterator[None]:
    """``importing`` what imports transformers: without SciPy it leaves out its losses for object detection, and loads
    in five sixths of the time."""
    with importing(), without("scipy"):
        yield


def on_demand(*modules: str) -> None:
    """Let these be loaded no sooner than a name in one is looked for, whoever imports them."""
    sys.meta_path.insert(0, _OnDemand(frozenset(modules)))


def without_contents(*packages: str) -> None:
    """Let single modules of these packages be imported without what the packages' own ``__init__`` would load.

    The outer ones come first. For a process that needs no more of them: whatever looks for a name in one finds none.
    """
    for name in packages:
        spec = find_spec(name)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.modules[name] = module_from_spec(spec)


class _OnDemand(MetaPathFinder):
    """Finds modules that are loaded when somebody looks for a name in them."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Of those alone; the others are for the usual finders."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in self._names else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec
