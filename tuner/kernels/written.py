"""Kernels that are written out whole by a choice, where no schedule of the plain function would do.

Attention is one; where the number of rows is known only when it runs, products and row-wise kernels are too; so is a
product whose columns are no whole vectors, as a vocabulary or a few labels, whatever its rows, and one with a gate, as
the sums of both its halves have to lie side by side. A product that a library of the target's computes is written
beside whatever else there is for it. A choice is what a record keeps of such a kernel: a few numbers as JSON, from
which it is written anew.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

import tvm

from tuner.graph.attention_kernel import attention_of
from tuner.graph.norm_product import norm_product_of
from tuner.kernels import (
    attention,
    attention_simdgroup,
    attention_tiles,
    blas,
    dot_blocks,
    dot_packing,
    norm_simdgroup,
    row_blocks,
    row_products,
    rowwise,
    simdgroup,
)
from tuner.kernels.attention import AttentionTile
from tuner.kernels.attention_tiles import SimdgroupAttention
from tuner.kernels.blas import BlasCall
from tuner.kernels.dot_blocks import DotTile, MatrixTile
from tuner.kernels.dots import forms_of
from tuner.kernels.extents import is_symbolic
from tuner.kernels.precision import FULL, precision_of
from tuner.kernels.products import cpu_of
from tuner.kernels.row_blocks import RowTile
from tuner.kernels.rowwise import Variant
from tuner.kernels.simdgroup_tiles import Tile
from tuner.kernels.tiles import Cpu

Choice = AttentionTile | SimdgroupAttention | RowTile | DotTile | MatrixTile | BlasCall | Variant | Tile
_KINDS: dict[str, type[Any]] = {
    "attention": AttentionTile,
    "simdgroup_attention": SimdgroupAttention,
    "row_blocks": RowTile,
    "dot_blocks": DotTile,
    "matrix_blocks": MatrixTile,
    "blas": BlasCall,
    "rowwise": Variant,
    "norm_product": Tile,
}


_LIMITED = ("threads", "shared_memory")


@dataclass(frozen=True)
class Writer:
    """All ``choices`` there are for a kernel, most promising first, and how each is written: as a PrimFunc.
    ``is_promising``: the first of them is likely the best of whatever there is for the kernel."""

    choices: list[Any]
    write: Callable[[Any], Any]
    write_unpacked: Callable[[Any], Any] | None = None  # the same, of constants as the plain function takes them
    packer: Callable[[Any], Any | None] | None = None  # what brings a constant into the form that the kernel takes
    is_promising: bool = True

    def module(self, choice: Any) -> Any:
        """The kernel by a choice, an IRModule whose only function is ``main``."""
        return tvm.IRModule({"main": self.write(choice)})

    def module_to_check(self, choice: Any) -> Any:
        """The same with the arguments of the plain function."""
        return tvm.IRModule({"main": (self.write_unpacked or self.write)(choice)})


def writer_for(mod: Any, target: Any) -> Writer | None:
    """What writes a module's function for this target; None where it is scheduled instead."""
    if target.kind.name != "llvm":
        return _for_gpu(mod, target)
    cpu, function = cpu_of(target), mod["main"]
    if (found := attention_of(function)) is not None:
        return Writer(attention.tiles(found, cpu), lambda tile: attention.write(found, tile))
    precision = precision_of(function)
    product = row_products.find(mod)
    if not is_symbolic(function) and precision == FULL and not _has_no_tiles(product, cpu):
        return None
    if product is not None:
        return _of_product(mod, product, target) if precision == FULL else _at(precision, mod, product, target)
    variants = rowwise.variants(mod, cpu)
    return Writer(list(variants), lambda variant: rowwise.schedule(mod, variant).mod["main"]) if variants else None


def _has_no_tiles(product: row_products.RowProduct | None, cpu: Cpu) -> bool:
    """Is it a product for which there are no good register tiles: no vector that keeps a core busy divides its
    columns, or what follows takes sums that lie far apart?"""
    if product is None or not product.is_float32:
        return False
    return product.parts > 1 or all(product.columns % lanes for lanes in cpu.full_lanes)


def _for_gpu(mod: Any, target: Any) -> Writer | None:
    if target.kind.name != "metal":
        return None
    gpu, limits = simdgroup.gpu_of(target), [int(target.attrs[f"max_{what}_per_block"]) for what in _LIMITED]
    choices: list[Any] = []
    write: Callable[[Any], Any]
    if (found := attention_of(mod["main"])) is not None:
        choices = list(attention_tiles.tiles(found, gpu, *limits))
        write = functools.partial(attention_simdgroup.write, found)
    elif (product := norm_product_of(mod["main"])) is not None:
        choices = list(norm_simdgroup.tiles(product, gpu, *limits))
        write = functools.partial(norm_simdgroup.write, product)
    return Writer(choices, write) if choices else None


def beside(mod: Any, target: Any) -> Writer | None:
    """What writes a module's function by a library of the target's, beside its schedules or other choices; None where
    there is no such library, or nothing for it to compute."""
    if target.kind.name != "llvm" or precision_of(mod["main"]) != FULL:
        return None
    if (found := blas.product_of(mod, target)) is None:
        return None
    promising = blas.is_quicker(found, cpu_of(target), target)
    return Writer([BlasCall()], lambda call: blas.write(mod, found, call), is_promising=promising)


def _of_product(mod: Any, product: row_products.RowProduct, target: Any) -> Writer | None:
    tiles = row_blocks.tiles(product, cpu_of(target))
    if not tiles:
        return None
    of_rows = Writer(
        list(tiles),
        lambda tile: row_blocks.write(mod, product, tile),
        lambda tile: row_blocks.write(mod, product, tile, packed=False),
        lambda tile: row_blocks.packer(product, tile),
    )
    by_library = beside(mod, target)
    return of_rows if by_library is None else _either(by_library, of_rows)


def _either(one: Writer, other: Writer) -> Writer:
    """Both; the first one's choices come first if they are promising, else right after the other's best."""
    own = set(one.choices)
    place = 0 if one.is_promising else 1

    def writer_of(choice: Any) -> Writer:
        return one if choice in own else other

    def packer(choice: Any) -> Any | None:
        pack = writer_of(choice).packer
        return pack(choice) if pack is not None else None

    return Writer(
        [*other.choices[:place], *one.choices, *other.choices[place:]],
        lambda choice: writer_of(choice).write(choice),
        lambda choice: (writer_of(choice).write_unpacked or writer_of(choice).write)(choice),
        packer,
    )


def _at(precision: str, mod: Any, product: row_products.RowProduct, target: Any) -> Writer | None:
    tiles = [[(tile, dot) for tile in dot_blocks.tiles(product, dot)] for dot in forms_of(precision, target)]
    if not tiles:
        return None
    by = dict(one for some in zip_longest(*tiles) for one in some if one is not None)
    return Writer(
        list(by),
        lambda tile: dot_blocks.write(mod, product, tile, by[tile]),
        lambda tile: dot_blocks.write(mod, product, tile, by[tile], packed=False),
        lambda tile: dot_packing.packer(product, tile, by[tile]),
    )


def plain(function: Any, target: Any) -> Any | None:
    """What a function that can't be scheduled is without a record, by its most promising choice; None for all others,
    and where it is written already."""
    opaque = attention_of(function) is not None or norm_product_of(function) is not None
    if not opaque or function.attrs.get("tirx.is_scheduled"):
        return None
    writer = writer_for(tvm.IRModule({"main": function}), target)
    if writer is None:
        return None
    kernel = writer.write(writer.choices[0]).without_attr("global_symbol")
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
    writer, choice = _chosen(trace, mod, target)
    if writer is None or choice not in writer.choices:
        return None
    return writer.module_to_check(choice) if to_check else writer.module(choice)


def packer_of(trace: str, mod: Any, target: Any) -> Any | None:
    """The PrimFunc that packs the constant for a record's kernel; None where it takes none, or as it is."""
    writer, choice = _chosen(trace, mod, target)
    return writer.packer(choice) if writer is not None and writer.packer is not None else None


def _chosen(trace: str, mod: Any, target: Any) -> tuple[Writer | None, Any | None]:
    """A record's choice, and what would write it."""
    choice = from_json(trace)
    return (beside if isinstance(choice, BlasCall) else writer_for)(mod, target), choice
