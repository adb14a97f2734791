"""Progress: a bar on a terminal, lines in a pipe; names from outside are never taken for markup."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.console import Console

from tests.support.samples import benchmark, finished_job, job
from tuner.cli import tables
from tuner.cli.progress import watch
from tuner.schemas import JobOut


def watched(jobs: Iterable[JobOut], terminal: bool, seconds_between: float = 0.0) -> str:
    output = io.StringIO()
    ticks = iter(range(1000))
    console = Console(file=output, force_terminal=terminal, width=120, no_color=True)
    last = watch(jobs, console, lambda: next(ticks) * seconds_between)
    assert last.state == "succeeded"
    return output.getvalue()


def test_pipe_gets_a_line_per_change_of_state() -> None:
    lines = watched([job(state="importing"), job(trials=16), job(trials=32), finished_job()], terminal=False)
    assert [line.split("  ")[0] for line in lines.splitlines()] == ["importing", "tuning", "succeeded"]


def test_pipe_hears_of_a_long_state_now_and_then() -> None:
    lines = watched([job(trials=16), job(trials=32), finished_job()], terminal=False, seconds_between=11.0)
    assert "16/1000" in lines
    assert "32/1000" in lines


def test_terminal_keeps_a_line_per_step_with_its_time() -> None:
    steps = [
        job(message="starts from 812 [shipped] records"),
        job(message="round 1 of 2"),
        job(message="round 2 of 2"),
        finished_job(),
    ]
    lines = [line for line in watched(steps, terminal=True, seconds_between=1.0).splitlines() if "✓" in line]
    assert [line.split("✓ ")[1].split("  ")[0] for line in lines] == [
        "starts from 812 [shipped] records",
        "round 2 of 2",
    ]


def test_terminal_shows_the_facts_of_the_job() -> None:
    shown = watched([job(), finished_job(message="all done")], terminal=True)
    for fact in ("succeeded", "100%", "1,000/1,000 trials", "2.5/s", "best 61.5 ms", "all done"):
        assert fact in shown


def test_counting_messages_are_one_step_in_a_pipe() -> None:
    lines = watched([job(message="round 1 of 2"), job(message="round 2 of 2"), finished_job()], terminal=False)
    assert len(lines.splitlines()) == 2


def test_names_with_brackets_are_shown_as_they_are() -> None:
    strange = finished_job(model="/models/[red]bert[/red]", message="[/] [bold]", target='{"kind": ["llvm"]}')
    console = Console(file=io.StringIO(), width=200)
    console.print(tables.jobs_table([strange]), tables.job_table(strange))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "/models/[red]bert[/red]" in text
    assert "[/] [bold]" in text


def test_comparison_is_slowest_first_and_names_variants() -> None:
    variants = {"tuned": 43.0, "torch-eager": 147.0, "torch-sdpa": 134.0, "untuned": 310.0}
    console = Console(file=io.StringIO(), width=120)
    console.print(tables.benchmarks_table([benchmark(name, ms) for name, ms in variants.items()]))
    rows = console.file.getvalue().splitlines()[1:]  # type: ignore[attr-defined]
    assert [row.split("  ")[0].strip() for row in rows] == ["TVM untuned", "PyTorch eager", "PyTorch SDPA", "TVM tuned"]
    assert rows[-1].split()[-1] == "7.21x"
