"""What a stage leaves behind."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections.abc import Iterator

import pytest

from tuner.config import Settings
from tuner.errors import StageFailed
from tuner.jobs.engine import run_stage


class _Node:
    """A search that knows itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def _only_when_told() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("fails", [False, True])
def test_cycles_are_freed_when_a_stage_ends(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    left: list[weakref.ref[_Node]] = []

    def stage(settings: Settings) -> None:
        left.append(weakref.ref(_Node()))
        if fails:
            raise StageFailed("no", "none")

    module = types.ModuleType("stages_that_leave_garbage")
    monkeypatch.setattr(module, "stage", stage, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for _ in range(2):  # the first one of a process also sets aside what is alive
        error = run_stage(module.__name__, "stage", {})
        assert (error is not None) == fails
    assert [ref() for ref in left] == [None, None]
