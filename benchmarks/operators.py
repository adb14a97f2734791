"""What fusing hard-swish into a matrix product costs: both tuned by a running service, timed beside PyTorch's.

    python -m benchmarks.operators 128 3072 768 --trials 64

All contestants run interleaved in one process with the same number of threads; the machine should be quiet.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tuner.bench.launch import run_benchmark
from tuner.bench.spec import Result, Spec, Variant
from tuner.cli.common import connected
from tuner.cli.progress import watch
from tuner.client.download import download, wanted
from tuner.client.http import Client
from tuner.importers.operators import catalog
from tuner.importers.source import resolve_source
from tuner.schemas import BudgetIn, JobIn

console = Console()
NAMES = {
    "gemm": "TuneSmith gemm",
    "swish_gemm": "TuneSmith swish_gemm",
    "product": "PyTorch matmul",
    "torch-eager": "PyTorch matmul + hardswish",
}


def tuned(client: Client, operator: str, trials: int, folder: Path) -> tuple[Path, int]:
    """The artifact of an operator, tuned now or known, and the threads that it is made for."""
    job = client.submit(JobIn(model=operator, budget=BudgetIn(trials=trials)))
    job = watch(client.progress(job.id), console)
    if job.artifact_id is None:
        raise SystemExit(f"{job.id} {job.state}: {job.error.message if job.error else ''}")
    artifact = client.artifact(job.artifact_id)
    path = download(client, wanted(artifact), folder / f"{artifact.id}.tar", lambda done: None)
    return path, int(artifact.manifest["threads"])


def compare(m: int, n: int, k: int, trials: int, rounds: int, url: str | None) -> Result:
    """Timings of all contestants."""
    gemm, swish = (catalog.operator(name, [m, n, k]) for name in ("gemm", "swish_gemm"))
    with tempfile.TemporaryDirectory() as scratch, connected(url) as client:
        folder = Path(scratch)
        (gemm_path, threads), (swish_path, _) = (tuned(client, one.text, trials, folder) for one in (gemm, swish))
        variants = [
            Variant(name="gemm", kind="tvm", path=str(gemm_path)),
            Variant(name="swish_gemm", kind="tvm", path=str(swish_path)),
            Variant(name="product", kind="torch-product"),
            Variant(name="torch-eager", kind="torch-eager"),
        ]
        spec = Spec(
            source=resolve_source(swish.text),
            folder=None,
            batch=1,
            seq_len=1,
            threads=threads,
            rounds=rounds,
            per_round=20,
            variants=variants,
        )
        return run_benchmark(spec, folder / "run")


def main() -> None:
    """Print the table and what the fusion costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("extents", type=int, nargs=3, metavar=("M", "N", "K"))
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--url")
    options = parser.parse_args()
    m, n, k = options.extents
    result = compare(m, n, k, options.trials, options.rounds, options.url)
    flops = catalog.operator("gemm", [m, n, k]).flops
    table = Table("", "median ms", "p10", "p90", "GFLOPS", box=None)
    median = {timing.variant: timing.median_ms for timing in result.timings}
    for timing in result.timings:
        gflops = flops / timing.median_ms / 1e6
        figures = (f"{value:.3f}" for value in (timing.median_ms, timing.p10_ms, timing.p90_ms))
        table.add_row(NAMES[timing.variant], *figures, f"{gflops:,.0f}")
    console.print(table)
    p10 = {timing.variant: timing.p10_ms for timing in result.timings}
    console.print(f"{result.threads} threads, {result.machine}, {result.timings[0].n} runs each, interleaved")
    console.print(
        f"hard-swish costs {median['swish_gemm'] / median['gemm'] - 1:+.1%} over the plain product "
        f"(by the best tenth {p10['swish_gemm'] / p10['gemm'] - 1:+.1%})"
    )


if __name__ == "__main__":
    main()
