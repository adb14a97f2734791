"""Who looks on while a model is rewritten and built is shown what each pass makes of it, and what is no pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import tvm
from tvm.ir.instrument import pass_instrument
from tvm.ir.transform import PassContext


class Onlooker(Protocol):
    """Takes what there is to see, in order."""

    def see(self, what: str, ending: str, text: str) -> None:
        """``ending`` says what the text is, as files of that kind are named."""
        ...


_onlooker: ContextVar[Onlooker | None] = ContextVar("onlooker", default=None)


@contextmanager
def watched_by(onlooker: Onlooker) -> Iterator[None]:
    """What runs in the block on this thread is shown to the onlooker."""
    token = _onlooker.set(onlooker)
    try:
        with passes(PassContext.current().opt_level):
            yield
    finally:
        _onlooker.reset(token)


def passes(opt_level: int) -> PassContext:
    """A context for TVM's passes, each of which is shown."""
    onlooker = _onlooker.get()
    return PassContext(opt_level=opt_level, instruments=[_Shown(onlooker)] if onlooker else None)


@contextmanager
def unwatched() -> Iterator[None]:
    """What runs in the block is nothing to look at."""
    token = _onlooker.set(None)
    try:
        with passes(PassContext.current().opt_level):
            yield
    finally:
        _onlooker.reset(token)


def show(what: str, ending: str, text: Callable[[], str]) -> None:
    """Show this, if anybody looks."""
    if (onlooker := _onlooker.get()) is not None:
        onlooker.see(what, ending, text())


@pass_instrument
class _Shown:
    def __init__(self, onlooker: Onlooker) -> None:
        self.onlooker = onlooker

    def run_after_pass(self, mod: Any, info: Any) -> None:
        """TVM calls it."""
        if str(info.name) != "sequential":  # its last pass was shown
            self.onlooker.see(str(info.name), "py", str(mod.script() if isinstance(mod, tvm.IRModule) else mod))
