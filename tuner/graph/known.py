"""Constants of a PyTorch graph that ``importers/known.py`` put in the place of what makes them."""

from __future__ import annotations

from typing import Any

from tvm import relax

VALUE = "value"  # what a node's ``meta`` holds it by, an array


def known() -> None:
    """What such a node calls, that it has a name."""


def importers() -> dict[str, Any]:
    """How they are taken from a PyTorch graph, for ``from_exported_program``."""
    return {known.__name__: lambda node, _importer: relax.const(node.meta[VALUE])}
