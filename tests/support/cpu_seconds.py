"""What each test file takes of the processors, with all processes that it starts and that end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterable
from typing import Any

import pytest

_SHOWN = 20


class CpuSeconds:
    """A plugin: each report says what was spent since the one before, the summary adds it up by file."""

    def __init__(self) -> None:
        self._before = 0.0

    def pytest_collection_finish(self) -> None:
        self._before = spent()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        now = spent()
        report.cpu_sec = now - self._before  # type: ignore[attr-defined]  # xdist carries what a report has
        self._before = now
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        lines = table(report for reports in terminalreporter.stats.values() for report in reports)
        if lines:
            terminalreporter.write_sep("=", "CPU seconds of files")
            for line in lines:
                terminalreporter.write_line(line)


def spent() -> float:
    """CPU seconds of this process and of those that it, or a child of its, has waited for."""
    return sum(os.times()[:4])


def table(reports: Iterable[Any]) -> list[str]:
    """The files that took most, and what all took."""
    files = Counter[str]()
    for report in reports:
        if hasattr(report, "cpu_sec"):
            files[report.nodeid.partition("::")[0]] += report.cpu_sec
    if len(files) < 2:
        return []
    return [f"{sec:6.1f}s {name}" for name, sec in files.most_common(_SHOWN)] + [f"{files.total():6.1f}s in all"]
