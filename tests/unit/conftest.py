"""Unit tests need neither TVM nor PyTorch: the import of these takes longer than all of the tests."""

from __future__ import annotations

import sys
from collections.abc import Generator

import pytest

_HEAVY = ("tvm", "torch")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Refuse a module at whose import one of them was loaded."""
    before = set(sys.modules)
    report = yield
    loaded = [name for name in _HEAVY if name in sys.modules and name not in before]
    if loaded:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} loads {' and '.join(loaded)}: it belongs in tests/integration"
    return report
