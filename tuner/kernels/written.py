"""Kernels that are written out whole by a choice, where no schedule of the plain function would do.

Attention is one; where the number of rows is known only when it runs, products and row-wise kernels are too. A choice
is what a record keeps of such a kernel: a few numbers as JSON, from which it is written anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import tvm

from tuner.graph.attention_kernel import attention_of
from tuner.kernels import attention, dot_blocks, row_blocks, row_products, rowwise
from tuner.kernels.attention import AttentionTile
from tuner.kernels.dot_blocks import DotTile
from tuner.kernels.dots import dot_of
from tuner.kernels.extents import is_symbolic
from tuner.kernels.precision import FULL, precision_of
from tuner.kernels.products import cpu_of
from tuner.kernels.row_blocks import RowTile
from tuner.kernels.rowwise import Variant

Choice = AttentionTile | RowTile | DotTile | Variant
_KINDS: dict[str, type[Any]] = {
    "attention": AttentionTile,
    "row_blocks": RowTile,
    "dot_blocks": DotTile,
    "rowwise": Variant,
}


@dataclass(frozen=True)
class Writer:
    """All ``choices`` there are for a kernel, most promising first, and how each is written: as a PrimFunc."""

    choices: list[Any]
    write: Callable[[Any], Any]
    write_unpacked: Callable[[Any], Any] | None = None  # the same, of constants as the plain function takes them
    packer: Callable[[Any], Any] | None = None  # what brings a constant into the form that the kernel takes

    def module(self, choice: Any) -> Any:
        """The kernel by a choice, an IRModule whose only function is ``main``."""
        return tvm.IRModule({"main": self.write(choice)})

    def module_to_check(self, choice: Any) -> Any:
        """The same with the arguments of the plain function."""
        return tvm.IRModule({"main": (self.write_unpacked or self.write)(choice)})


def writer_for(mod: Any, target: Any) -> Writer | None:
    """What writes a module's function for this target; None where it is scheduled instead."""
    if target.kind.name != "llvm":
        return None
    cpu, function = cpu_of(target), mod["main"]
    if (found := attention_of(function)) is not None:
        return Writer(attention.tiles(found, cpu), lambda tile: attention.write(found, tile))
    precision = precision_of(function)
    if not is_symbolic(function) and precision == FULL:
        return None
    if (product := row_products.find(mod)) is not None:
        return _of_product(mod, product, target) if precision == FULL else _at(precision, mod, product, target)
    variants = rowwise.variants(mod, cpu)
    return Writer(list(variants), lambda variant: rowwise.schedule(mod, variant).mod["main"]) if variants else None


def _of_product(mod: Any, product: row_products.RowProduct, target: Any) -> Writer | None:
    choices = row_blocks.tiles(product, cpu_of(target))
    if not choices:
        return None
    return Writer(
        list(choices),
        lambda tile: row_blocks.write(mod, product, tile),
        lambda tile: row_blocks.write(mod, product, tile, packed=False),
        lambda tile: row_blocks.packer(product, tile),
    )


def _at(precision: str, mod: Any, product: row_products.RowProduct, target: Any) -> Writer | None:
    dot = dot_of(precision, target)
    if dot is None:
        return None
    return Writer(
        list(dot_blocks.tiles(product, dot)),
        lambda tile: dot_blocks.write(mod, product, tile, dot),
        lambda tile: dot_blocks.write(mod, product, tile, dot, packed=False),
        lambda tile: dot_blocks.packer(product, tile, dot),
    )


def plain(function: Any, target: Any) -> Any | None:
    """What a function that can't be scheduled is without a record, by its most promising choice; None for all others,
    and where it is written already."""
    found = attention_of(function)
    if found is None or function.attrs.get("tirx.is_scheduled"):
        return None
    kernel = attention.write(found, attention.tiles(found, cpu_of(target))[0]).without_attr("global_symbol")
    return kernel.with_attr({**function.attrs, "tirx.is_scheduled": True})


def is_choice(trace: str) -> bool:
    """Is a record's trace a choice, rather than a schedule's?"""
    return trace.startswith("{")


def to_json(choice: Any) -> str:
    """What a record keeps."""
    kind = next(name for name, of in _KINDS.items() if type(choice) is of)
    return json.dumps({"kernel": kind, **asdict(choice)}, separators=(",", ":"))


def from_json(trace: str) -> Any | None:
    """The choice that a record keeps; None when this release knows no such one."""
    try:
        fields = json.loads(trace)
        return _KINDS[fields.pop("kernel")](**fields)
    except (KeyError, TypeError, ValueError):
        return None


def rewritten(trace: str, mod: Any, target: Any, to_check: bool = False) -> Any | None:
    """The module of a record's kernel; None when there is no such choice for this workload on this target.
    ``to_check``: with the plain function's arguments."""
    writer, choice = writer_for(mod, target), from_json(trace)
    if writer is None or choice not in writer.choices:
        return None
    return writer.module_to_check(choice) if to_check else writer.module(choice)


def packer_of(trace: str, mod: Any, target: Any) -> Any | None:
    """The PrimFunc that packs the constant for a record's kernel; None where it takes none, or as it is."""
    writer, choice = writer_for(mod, target), from_json(trace)
    return writer.packer(choice) if writer is not None and writer.packer is not None else None
