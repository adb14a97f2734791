"""What feeds what, between the distinct kernels of a model: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tuner.graph.surroundings import OUTPUT, Launch


def flow(found: Sequence[Launch], called: Mapping[str, str]) -> list[list[str | int]]:
    """``[from, to, how many times]`` of a model's launches, by what their kernels are ``called``; a model's inputs go
    by their names, what it gives is ``output``."""
    edges: Counter[tuple[str, str]] = Counter()
    for one in found:
        name = called.get(one.kernel, one.kernel)
        for read in one.reads:
            edges[called.get(found[read].kernel, found[read].kernel) if isinstance(read, int) else read, name] += 1
        if one.is_output:
            edges[name, OUTPUT] += 1
    return [[source, target, count] for (source, target), count in edges.items()]
