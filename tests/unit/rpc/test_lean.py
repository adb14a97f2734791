"""Importing large libraries."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from rpc.lean import importing


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
