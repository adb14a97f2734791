"""Who is the faster: the tuned module or PyTorch. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.schemas import BenchmarkOut


def fastest_pytorch(benchmarks: Sequence[BenchmarkOut]) -> BenchmarkOut | None:
    """PyTorch's fastest variant by its median; None where PyTorch was not timed."""
    return min((b for b in benchmarks if b.variant.startswith("torch")), key=lambda b: b.median_ms, default=None)


def is_undecided(benchmarks: Sequence[BenchmarkOut]) -> bool:
    """Do the spreads, p10 to p90, of the tuned module and of PyTorch's fastest overlap? Then neither is the faster."""
    tuned = next((b for b in benchmarks if b.variant == "tuned"), None)
    torch = fastest_pytorch(benchmarks)
    return bool(tuned and torch and tuned.p10_ms <= torch.p90_ms and torch.p10_ms <= tuned.p90_ms)
