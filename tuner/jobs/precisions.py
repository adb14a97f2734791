"""What a job's kernels add up to at each precision it tries. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import get_args

from tuner.schemas.common import Precision

FULL: Precision = "fp32"


def precision_in(name: str) -> str:
    """The precision that a workload's name says at its end."""
    end = name.rpartition("_")[2]
    return end if end in get_args(Precision) else FULL


def product_in(name: str, summary: str) -> str:
    """What a workload computes, at whatever precision; a GPU's takes its constant in halves."""
    return f"{name.removesuffix('_' + precision_in(name))} {summary.replace('float16[', 'float32[')}"


def sums(parts: Iterable[tuple[str, str, float]]) -> dict[str, float]:
    """Time of the whole model by precision, of kernels ``(product, precision, time)``: of each product the kernel of
    that precision or, where there is none, float32's. A precision that lacks some product has no time."""
    by_product: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for product, precision, time in parts:
        by_product[product][precision] += time
    tried = {precision for kernels in by_product.values() for precision in kernels}
    found = {}
    for precision in tried:
        times = [kernels.get(precision, kernels.get(FULL)) for kernels in by_product.values()]
        if None not in times:
            found[precision] = sum(time for time in times if time is not None)
    return found
