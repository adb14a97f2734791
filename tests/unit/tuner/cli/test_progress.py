"""Progress: a bar on a terminal, lines in a pipe; names from outside are never taken for markup."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.console import Console

from tests.support.samples import benchmark, finished_job, job
from tuner.cli import common, tables, words
from tuner.cli.progress import watch
from tuner.schemas import JobOut, JobWorkloadOut


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
    console.print(tables.jobs_table([strange], console.width), tables.job_table(strange))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "/models/[red]bert[/red]" in text
    assert "[/] [bold]" in text


def test_ids_and_numbers_are_whole_in_a_narrow_terminal() -> None:
    long = finished_job(model="/home/somebody/models/a-very-fine-tuned-bert", trials=1000)
    work = JobWorkloadOut(
        workload_id="wl-1", name="matmul_add_gelu", summary="float32[32,384]", flops=1e9, weight=6, position=0,
        tunable=True, trials=1000, untuned_us=12345.0, best_us=1234.5, gflops=479.0, share=0.271, intensity=9.0,
        peak_share=0.93,
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=80)
    console.print(tables.jobs_table([long], console.width), tables.workloads_table([work], console.width))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for whole in (long.id, "1,000/1,000", "43.2 ms", "3.10x", "12,345 us", "27.1%"):
        assert whole in text
    assert "float32" not in text  # no room for shapes


def test_how_a_kernel_was_chosen_is_one_word_in_a_narrow_terminal() -> None:
    work = JobWorkloadOut(
        workload_id="wl-1", name="matmul_add_gelu", summary="float32[32,384]", flops=1e9, weight=6, position=0,
        tunable=True, trials=1000, untuned_us=12345.0, best_us=1234.5, gflops=479.0, share=0.271, intensity=9.0,
        peak_share=0.93, chosen="guessed: model of the core",
    )  # fmt: skip
    texts = []
    for width in (80, 160):
        console = Console(file=io.StringIO(), width=width)
        console.print(tables.kernels_table([work], console.width))
        texts.append(console.file.getvalue())  # type: ignore[attr-defined]
    assert all(whole in texts[0] for whole in ("matmul_add_gelu", "12,345 us", "27.1%", "guessed", "1,000"))
    assert "model of the core" not in texts[0]
    assert "guessed: model of the core" in texts[1]


def test_a_kernel_by_a_unit_beside_the_cores_names_it() -> None:
    common = {
        "workload_id": "wl-1", "summary": "", "flops": 1e9, "weight": 1, "position": 0, "tunable": True, "trials": 9,
        "untuned_us": 99.0, "best_us": 9.0, "gflops": 700.0, "share": 0.5, "intensity": 9.0, "peak_share": 0.43,
        "runs_on": "cpu",
    }  # fmt: skip
    large = JobWorkloadOut(name="matmul_add", unit="AMX", **common)  # type: ignore[arg-type]
    small = JobWorkloadOut(name="attention", **common)  # type: ignore[arg-type]
    console = Console(file=io.StringIO(), width=180)
    console.print(tables.kernels_table([large, small], console.width))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    by_kernel = {line.split()[0]: line for line in lines if line.split()}
    assert "cpu, AMX" in by_kernel["matmul_add"]
    assert "43%" in by_kernel["matmul_add"]
    assert "cpu" in by_kernel["attention"]
    assert "AMX" not in by_kernel["attention"]


def test_a_path_is_shown_as_it_is() -> None:
    assert [one.render_str("root:x:0").plain for one in (common.console, common.notes)] == ["root:x:0"] * 2


def test_latency_of_a_model_with_random_weights_is_marked_in_the_list() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(tables.jobs_table([finished_job(weights="random")], console.width))
    console.print(tables.jobs_table([finished_job(weights="pretrained")], console.width))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert ["(random weights)" in line for line in lines if "job-" in line] == [True, False]


def test_comparison_is_slowest_first_and_names_variants() -> None:
    variants = {"tuned": 43.0, "torch-eager": 147.0, "torch-sdpa": 134.0, "untuned": 310.0}
    console = Console(file=io.StringIO(), width=120)
    console.print(tables.benchmarks_table([benchmark(name, ms) for name, ms in variants.items()]))
    rows = console.file.getvalue().splitlines()[1:]  # type: ignore[attr-defined]
    assert [row.split("  ")[0].strip() for row in rows] == ["TVM untuned", "PyTorch eager", "PyTorch SDPA", "TVM tuned"]
    assert rows[-1].split()[-1] == "7.21x"
    assert "43.4 (0.86) ms" in rows[-1]


def test_rivals_say_what_they_cost_and_why_they_are_not_there() -> None:
    costs = {"load_ms": 4360.0, "first_ms": 210.0, "after_idle_ms": 61.0, "memory_bytes": 3 * 2**29}
    rival = benchmark("onnxruntime-int8", 31.0).model_copy(update={**costs, "precision": "int8", "max_abs_error": 0.02})
    console = Console(file=io.StringIO(), width=120)
    console.print(tables.benchmarks_table([rival, benchmark("tuned", 43.0)], {"openvino": "is not installed"}))
    console.print(tables.costs_table([rival, benchmark("tuned", 43.0)]))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert any(line.split()[:4] == ["OpenVINO", "float32", "not", "timed"] for line in lines)
    costly = next(line for line in lines if "4360 ms" in line)
    assert all(part in costly for part in ("ONNX Runtime int8", "210 ms", "61 ms", "1.5 GiB", "int8", "2.0e-02"))
    assert lines[-1].split()[-6:] == [words.DASH] * 6


def test_a_mean_is_told_as_tvms_own_examples_do() -> None:
    assert words.mean_time(35.54, 1.392) == "Mean inference time (std dev): 35.54 ms (1.39 ms)"


def test_how_contestants_were_compared() -> None:
    tuned = benchmark("tuned", 43.0)
    assert words.how_compared([tuned]) == "interleaved, in one process, 2 threads, two cores"
    apart = tuned.model_copy(update={"load_ms": 10.0})
    assert "each in a process of its own" in words.how_compared([tuned, apart])


def test_a_comparison_of_an_earlier_release_has_no_mean() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(tables.benchmarks_table([benchmark("tuned", 43.0).model_copy(update={"mean_ms": None})]))
    assert words.DASH in console.file.getvalue()  # type: ignore[attr-defined]
