"""Importing large libraries."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from rpc.lean import importing, without_torch


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.enable()


def test_nobody_looks_for_garbage_while_libraries_are_imported_but_afterwards_also_when_one_is_missing() -> None:
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), importing():
        raise ImportError("no such library")
    assert gc.isenabled()


def test_who_does_without_collections_still_does_afterwards() -> None:
    gc.disable()
    with importing():
        pass
    assert not gc.isenabled()


def test_pytorch_is_absent_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with without_torch(), pytest.raises(ImportError):
        import torch  # noqa: F401
    assert "torch" not in sys.modules


def test_pytorch_stays_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = object()
    monkeypatch.setitem(sys.modules, "torch", loaded)
    with without_torch():
        assert sys.modules["torch"] is loaded
    assert sys.modules["torch"] is loaded
