"""Who a job's module is measured against, and what the figures say of its arithmetic. No torch, no TVM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tuner.bench.spec import Timing, Variant
from tuner.db.models import Model
from tuner.importers.model_file import PROGRAM
from tuner.importers.operators import catalog
from tuner.targets.roofline import Peak

PRODUCT = "product"
EAGER: Literal["torch-eager"] = "torch-eager"


def baselines(model: Model) -> list[Variant]:
    """Contestants beside the compiled modules: PyTorch as far as it knows the model."""
    if model.source != "operator" and not model.family:  # a program has one forward, an ONNX file no PyTorch
        return [Variant(name=EAGER, kind=EAGER)] if model.location.endswith(PROGRAM) else []
    if model.source != "operator":
        return [Variant(name=kind, kind=kind) for kind in ("torch-eager", "torch-sdpa")]
    if not catalog.is_operator(model.location):
        return []
    eager = Variant(name="torch-eager", kind="torch-eager")
    fused = catalog.parse(model.location).kind.fused
    return [eager, *([Variant(name=PRODUCT, kind="torch-product")] if fused else [])]


def flops_of(model: Model, counted: float) -> float:
    """Operations that an operator's speed is told by: those of its product where it is known by name, so that a fused
    one and the plain one compare; else all that were ``counted`` in what it computes."""
    return catalog.parse(model.location).flops if catalog.is_operator(model.location) else counted


def arithmetic(model: Model, timings: Mapping[str, Timing], peak: Peak | None, counted: float) -> dict[str, Any]:
    """An operator's manifest entries: GFLOPS by variant at the median, and the target's peak with where it is from;
    ``counted`` as of ``flops_of``."""
    if model.source != "operator":
        return {}
    entries: dict[str, Any] = {}
    if flops := flops_of(model, counted):
        entries["gflops"] = {name: flops / timing.median_ms / 1e6 for name, timing in timings.items()}
    return entries | ({"peak_gflops": peak.gflops, "peak_source": peak.source} if peak else {})
