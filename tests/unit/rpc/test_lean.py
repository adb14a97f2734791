"""Importing large libraries."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from rpc.lean import importing, on_demand, without_contents, without_torch
from tests.support.processes import ROOT, python_code


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


def test_what_was_imported_is_set_aside_and_nothing_where_all_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.unfreeze()
    with importing():
        made = [[n] for n in range(1000)]
    assert gc.get_freeze_count() == 0, "what a process made before is no library's"
    with importing():
        monkeypatch.setitem(sys.modules, "new_library", sys)
    assert gc.get_freeze_count() >= len(made)


def test_who_does_without_collections_still_does_afterwards() -> None:
    gc.disable()
    with importing():
        pass
    assert not gc.isenabled()


def test_what_costs_tvm_an_error_is_absent_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "tvm.runtime.disco"
    monkeypatch.delitem(sys.modules, name, raising=False)
    with importing():
        assert sys.modules[name] is None
    assert name not in sys.modules


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


def test_a_module_is_imported_without_what_its_package_would_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "large_package" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner.parent, inner):
        (folder / "__init__.py").write_text("raise AssertionError('it was loaded')")
    (inner / "small.py").write_text("from . import other\nVALUE = other.VALUE")
    (inner / "other.py").write_text("VALUE = 3")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ("large_package", "large_package.inner")
    try:
        without_contents(*names)
        value = import_module("large_package.inner.small").VALUE
    finally:
        for name in [name for name in sys.modules if name.startswith(names[0])]:
            del sys.modules[name]
    assert value == 3
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        without_contents("no_such_package")


def test_a_module_is_loaded_when_a_name_in_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "late_package"
    package.mkdir()
    (package / "__init__.py").write_text("from . import rarely_used")
    (package / "rarely_used.py").write_text("from late_package.inner import VALUE")
    (package / "inner.py").write_text("VALUE = 3")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    on_demand("late_package.rarely_used")
    try:
        found = import_module("late_package")
        assert "late_package.inner" not in sys.modules
        assert found.rarely_used.VALUE == 3
        assert "late_package.inner" in sys.modules
    finally:
        for name in [name for name in sys.modules if name.startswith("late_package")]:
            del sys.modules[name]


def test_the_tracker_loads_nothing_of_tvms_libraries() -> None:
    code = "import sys; import rpc.tracker_process; print({'tvm_ffi', 'numpy', 'tvm.runtime'} & {*sys.modules})"
    done = subprocess.run(python_code(code), cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
