"""Who a job's module is measured against, and what the figures say of the machine's arithmetic. No torch, no TVM."""

from __future__ import annotations

from typing import Any

from tuner.bench.spec import Result, Variant
from tuner.db.models import Model
from tuner.operators import catalog

PEAK, PRODUCT = "peak", "product"


def baselines(model: Model) -> list[Variant]:
    """Contestants beside the compiled modules: PyTorch as far as it knows the model, for operators the cores' peak."""
    if model.source != "operator":
        return [Variant(name=kind, kind=kind) for kind in ("torch-eager", "torch-sdpa")]
    peak = Variant(name=PEAK, kind="peak")
    if not catalog.is_operator(model.location):
        return [peak]
    eager = Variant(name="torch-eager", kind="torch-eager")
    fused = catalog.parse(model.location).kind.fused
    return [peak, eager, *([Variant(name=PRODUCT, kind="torch-product")] if fused else [])]


def arithmetic(result: Result) -> dict[str, Any]:
    """Manifest entries of a benchmark with a peak: GFLOPS by variant at the median, and the peak at its best tenth."""
    timings = {timing.variant: timing for timing in result.timings}
    if PEAK not in timings:
        return {}
    gflops = {name: result.flops[name] / timings[name].median_ms / 1e6 for name in result.flops if name != PEAK}
    return {"gflops": gflops, "peak_gflops": result.flops[PEAK] / timings[PEAK].p10_ms / 1e6}
