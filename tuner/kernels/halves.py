"""Products of halves, as a plain kernel says them: for GPUs, whose kernels are scheduled, not written out."""

from __future__ import annotations

from typing import Any

from tvm import te

from tuner.kernels.row_products import RowProduct


def halved(function: Any, found: RowProduct) -> Any:
    """The PrimFunc with its product's constant in halves and its left operand rounded to them; sums, and what follows
    the product, stay in float32. Its arguments keep their places."""
    taken = [
        te.placeholder(tuple(buffer.shape), "float16" if n == found.constant else str(buffer.dtype), name=buffer.name)
        for n, buffer in enumerate(found.arguments[:-1])
    ]
    left, constant = taken[found.left], taken[found.constant]
    rounded = te.compute(tuple(left.shape), lambda i, k: left[i, k].astype("float16"), name="rounded")
    k = te.reduce_axis((0, found.depth), "k")

    def product(i: Any, j: Any) -> Any:
        return te.sum(rounded[i, k].astype("float32") * constant[k, j].astype("float32"), axis=k)

    shape, width = tuple(found.arguments[-1].shape), found.out_columns
    sums = te.compute((shape[0], found.columns), product, name="product")

    def followed(i: Any, j: Any) -> Any:
        return found.follow([sums[i, j + part * width if part else j] for part in range(found.parts)], i, j, taken)

    out = te.compute(shape, followed, name="out")
    made = te.create_prim_func([*taken, out], index_dtype_override="int64").without_attr("global_symbol")
    return made.with_attr(dict(function.attrs.items()))
