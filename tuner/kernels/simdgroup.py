"""Products by simdgroup matrices, for Apple GPUs: float16, float32, and float16 added up in float32, with all that
surrounds the product fused in.

A threadgroup computes one tile of the result. Step by step along the depth it copies a slice of both operands into
threadgroup memory, from where its simdgroups load 8x8 matrices, multiply them and add up. The tile leaves through
threadgroup memory too: what follows the product needs to know which element it has, and a matrix doesn't tell.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule, ScheduleError, TensorIntrin
from tvm.s_tir.dlight.gpu import matmul as dlight
from tvm.s_tir.dlight.gpu.matmul import IterKind
from tvm.tirx.analysis import undefined_vars

from tuner.kernels.intrinsics import import_on_demand
from tuner.kernels.simdgroup_tiles import (
    BANK_BYTES,
    SIDE,
    TILES,
    TILES_OF_HALVES,
    Cost,
    Gpu,
    Multiplication,
    Tile,
    by_cost,
    cost,
)
from tuner.targets import apple

_LANES = 4  # of Metal's longest vector
_BANK_ALIGNMENT = 16  # in elements: all slices are a multiple of it wide
_ELEMENT_BYTES = {"float16": 2, "float32": 4}
_TYPES = {("float16", "float16"), ("float32", "float32"), ("float16", "float32")}  # of operands and sums


def tiles(target: Any) -> tuple[Tile, ...]:
    """The tiles that a target has threads and threadgroup memory for, largest first; none but for Metal."""
    if target.kind.name != "metal":
        return ()
    threads, width = int(target.attrs["max_threads_per_block"]), int(target.attrs["thread_warp_size"])
    memory = int(target.attrs["max_shared_memory_per_block"])
    wide = max(_ELEMENT_BYTES.values())
    known = dict.fromkeys((*TILES, *TILES_OF_HALVES))
    return tuple(tile for tile in known if tile.threads(width) <= threads and tile.shared_bytes(wide) <= memory)


def _are_for(types: tuple[str, str]) -> tuple[Tile, ...]:
    return TILES if types[0] == types[1] else TILES_OF_HALVES


def promising(mod: Any, target: Any) -> list[Tile]:
    """Tiles for ``mod``'s only function ``main``, the quickest by the model of the GPU first; none where it is no
    product, or one of fewer rows or columns than a matrix has: most of the arithmetic would be padding.
    """
    wanted, made = _multiplication(mod), Schedule(mod)
    if wanted is None:
        return []
    fitting = _are_for(_types(made.get(_product(made))))
    return by_cost([tile for tile in tiles(target) if tile in fitting], wanted, gpu_of(target))


def cost_of(tile: Tile, mod: Any, target: Any) -> Cost | None:
    """What the model says of a tile for the product in ``mod``; None where it is none."""
    wanted = _multiplication(mod)
    return None if wanted is None else cost(tile, wanted, gpu_of(target))


def _multiplication(mod: Any) -> Multiplication | None:
    made = Schedule(mod)
    product = _product(made)
    if product is None:
        return None
    types = _types(made.get(product))
    _normalise(made, product)
    extents = [made.get(loop).extent for loop in made.get_loops(product)]
    if not all(isinstance(extent, tirx.IntImm) for extent in extents):
        return None
    batch, rows, columns, depth = (int(extent) for extent in extents)
    wanted = Multiplication(batch, rows, columns, depth, _ELEMENT_BYTES[types[0]])
    return wanted if min(wanted.rows, wanted.columns) >= SIDE else None


def gpu_of(target: Any) -> Gpu:
    """By the host's chip; one that is not known has as many cores as the smallest."""
    host = target.host.attrs if target.host is not None else {}
    chip = apple.chip_of(str(host.get("mcpu", "")), str(target.host.tag) if target.host is not None else "")
    return Gpu(chip.gpu_cores if chip else Gpu().cores)


def schedule(tile: Tile, mod: Any, target: Any) -> Any | None:
    """The schedule of ``mod``'s only function ``main``; None unless it is a product of matrices of one float type, or
    of halves that are added up in float32."""
    made = Schedule(mod)
    product = _product(made)
    if product is None or tile not in _are_for(_types(made.get(product))):
        return None
    width = int(target.attrs["thread_warp_size"])
    try:
        _multiply(made, product, tile, width)
    except (ScheduleError, AssertionError):  # DLight asserts: what surrounds the product can't be fused
        return None
    return made


def _product(sch: Any) -> Any | None:
    """The only reduction, where its operands are matrices of one type and its result one that they are added up in."""
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    (found,) = dlight.get_reduction_blocks(sch, blocks) or [None]
    if found is None:
        return None
    block = sch.get(found)
    operands = {str(region.source.dtype) for region in block.reads}
    if len(operands) != 1 or _types(block) not in _TYPES or dlight.detect_iter_traits(block) is None:
        return None
    return found


def _types(block: Any) -> tuple[str, str]:
    """Of a product's operands, and of its sums."""
    return str(block.reads[0].source.dtype), str(block.writes[0].source.dtype)


def _multiply(sch: Any, product: Any, tile: Tile, width: int) -> None:
    transposed = _normalise(sch, product)
    sch.pad_einsum(product, [1, tile.rows, tile.columns, tile.depth])
    batch, i, j, k = sch.get_loops(product)
    bx, ty, i0, i1 = sch.split(i, [None, tile.simd_rows, tile.rows // tile.simd_rows // SIDE, SIDE])
    by, tx, j0, j1 = sch.split(j, [None, tile.simd_columns, tile.columns // tile.simd_columns // SIDE, SIDE])
    step, k0, k1 = sch.split(k, [None, tile.depth // SIDE, SIDE])
    sch.reorder(bx, by, ty, tx, step, k0, i0, j0, i1, j1, k1)
    for loop, axis in ((bx, "blockIdx.x"), (by, "blockIdx.y"), (batch, "blockIdx.z")):
        sch.bind(loop, axis)
    sch.bind(ty, "threadIdx.z")
    sch.bind(tx, "threadIdx.y")

    dtype, sums = _types(sch.get(product))
    bank = BANK_BYTES // _ELEMENT_BYTES[dtype]
    for operand in (0, 1):
        fetched = sch.cache_read(product, operand, "shared")
        sch.compute_at(fetched, step, preserve_unit_loops=True)
        _spread(sch, fetched, tile, width)
        sch.storage_align(fetched, 0, axis=-2, factor=_BANK_ALIGNMENT, offset=bank)
        dlight.auto_inline_producers(sch, fetched)

    left = sch.cache_read(product, 0, "metal.simdgroup")
    right = sch.cache_read(product, 1, "metal.simdgroup")
    sch.compute_at(left, k0)
    sch.compute_at(right, k0)
    if transposed:
        sch.transform_layout(right, ("write", 0), lambda s, column, depth: (s, depth, column))
    stored = sch.cache_write(product, 0, "metal.simdgroup")
    result = sch.cache_write(stored, 0, "shared")
    sch.reverse_compute_at(stored, tx, preserve_unit_loops=True)
    sch.reverse_compute_at(result, by, preserve_unit_loops=True)

    names = _intrinsics(dtype, sums)
    for loop in (k0, i0, j0):
        sch.unroll(loop)  # matrices are registers: their numbers must be known
    filled = sch.decompose_reduction(product, step)
    _tensorize(sch, left, names["load"])
    _tensorize(sch, right, names["load_transposed" if transposed else "load"])
    _tensorize(sch, stored, names["store"])
    _tensorize(sch, filled, names["fill"])
    sch.tensorize(i1, names["multiply"])

    dlight.auto_inline_consumer_chain(sch, result)
    _spread(sch, result, tile, width)


def _normalise(sch: Any, product: Any) -> bool:
    """Make it ``c[s, i, j] += a[s, i, k] * b[s, k, j]``, or ``b[s, j, k]`` where b is stored so; True then."""
    transposed = _depth_is_last(sch.get(product))
    read_left, read_right = (sch.reindex(product, ("read", n)) for n in (0, 1))
    written = sch.reindex(product, ("write", 0))
    left, right, out, all_ = dlight.detect_iter_traits(sch.get(product))  # of the axes that operands now have
    s, i, j, k = IterKind.kIter_S, IterKind.kIter_I, IterKind.kIter_J, IterKind.kIter_K
    right_order = [s, j, k] if transposed else [s, k, j]
    sch.transform_layout(read_left, ("write", 0), dlight.make_iter_fusion_index_map(left, [s, i, k]))
    sch.transform_layout(read_right, ("write", 0), dlight.make_iter_fusion_index_map(right, right_order))
    sch.transform_layout(written, ("read", 0), dlight.make_iter_fusion_index_map(out, [s, i, j]))
    sch.transform_block_layout(product, dlight.make_iter_fusion_index_map(all_, [s, i, j, k]))
    return transposed


def _depth_is_last(block: Any) -> bool:
    """Do elements that are added up lie side by side in the right operand?"""
    depth = {it.var for it in block.iter_vars if it.iter_type == tirx.IterVar.CommReduce}
    return bool(depth & set(undefined_vars(block.reads[1].region[-1].min)))


def _spread(sch: Any, block: Any, tile: Tile, width: int) -> None:
    """Share the copying of a slice or tile among all threads, vector by vector."""
    elements = sch.fuse(*sch.get_loops(block)[-2:])
    _, *threads, vector = sch.split(elements, [None, tile.simd_rows, tile.simd_columns, width, _LANES])
    for loop, axis in zip(threads, "zyx", strict=True):
        sch.bind(loop, f"threadIdx.{axis}")
    sch.vectorize(vector)


def _tensorize(sch: Any, block: Any, name: str) -> None:
    """Let an intrinsic do each 8x8 matrix of a block's last two axes."""
    *_, i, j = sch.get_loops(block)
    i0, i1 = sch.split(i, [None, SIDE])
    j0, j1 = sch.split(j, [None, SIDE])
    sch.reorder(i0, j0, i1, j1)
    sch.unroll(i0)
    sch.unroll(j0)
    sch.tensorize(i1, name)


@cache
def _intrinsics(dtype: str, sums: str) -> dict[str, str]:
    """Names of the simdgroup operations on matrices of a type that are added up in another, registered here: TVM has
    float16's only."""
    import_on_demand()
    from tvm.s_tir.tensor_intrin import metal

    from tuner.kernels.simdgroup_mixed import mixed_multiply

    made = {
        "fill": metal.get_make_filled_simdgroup_matrix_intrin(sums),
        "load": metal.get_simdgroup_load_intrin(dtype, "shared"),
        "load_transposed": metal.get_simdgroup_load_intrin(dtype, "shared", transpose_matrix=True),
        "multiply": metal.get_simdgroup_multiply_accumulate_intrin(SIDE, SIDE, SIDE, dtype),
        "store": metal.get_simdgroup_store_intrin(sums, "shared"),
    }
    if sums != dtype:
        made["multiply"] = mixed_multiply(dtype, sums)
    names = {what: f"tunesmith_simdgroup_{what}_{dtype}_{sums}" for what in made}
    for what, (description, implementation) in made.items():
        TensorIntrin.register(names[what], description, implementation)
    return names
