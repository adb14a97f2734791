"""A layer norm and the product that takes it as one operator of the graph: what it computes, and the plain kernel.

Of rows ``x`` with mean ``m`` and standard deviation ``1 / r``, ``((x - m) * r * gamma + beta) @ w + b`` is
``(x @ w' - m * s) * r + b'`` where ``w'`` is ``w`` with its rows times gamma, ``s`` its column sums and
``b' = beta @ w + b``: the product takes the rows as they are, and nothing but ``m`` and ``r`` is needed of the norm.
The kernel hands these out as well: whatever else takes the normalised rows computes them where it needs them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tvm import te, tirx, topi

from tuner.graph.attention_kernel import OPAQUE
from tuner.graph.operators import gelu, gelu_tanh

ATTRIBUTE = "tunesmith.norm_product"
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "": lambda x: x,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": topi.nn.relu,
}


@dataclass(frozen=True)
class NormProduct:
    """``(rows, depth)`` by ``(depth, columns)``; weights are of ``dtype``, rows are rounded to it, sums are float32."""

    rows: int
    depth: int
    columns: int
    epsilon: float
    activation: str = ""
    dtype: str = "float32"

    @property
    def element_bytes(self) -> int:
        """Of a weight, and of a row's element where it is multiplied."""
        return 2 if self.dtype == "float16" else 4


def norm_product_of(func: Any) -> NormProduct | None:
    """What a function computes, if it is one of these."""
    if not func.attrs or ATTRIBUTE not in func.attrs:
        return None
    return NormProduct(**json.loads(str(func.attrs[ATTRIBUTE])))


def attributes(product: NormProduct) -> dict[str, Any]:
    """What tells such a function, which nothing is fused with."""
    return {ATTRIBUTE: json.dumps(asdict(product), sort_keys=True), "op_pattern": OPAQUE}


def definition(product: NormProduct) -> Any:
    """The plain kernel, a PrimFunc: rows, weights, their column sums, bias; means, all ``r``, the result."""
    rows, depth, columns = product.rows, product.depth, product.columns
    x = te.placeholder((rows, depth), name="rows")
    weights = te.placeholder((depth, columns), product.dtype, name="weights")
    sums, bias = (te.placeholder((columns,), name=name) for name in ("sums", "bias"))
    k_mean, k_var, k = (te.reduce_axis((0, depth), "k") for _ in range(3))
    inverse = tirx.const(1.0 / depth, "float32")
    total = te.compute((rows,), lambda i: te.sum(x[i, k_mean], axis=k_mean), name="norm_sum")
    centred = te.compute((rows, depth), lambda i, j: x[i, j] - total[i] * inverse, name="norm_centred")
    spread = te.compute(
        (rows,), lambda i: te.sum(centred[i, k_var] * centred[i, k_var], axis=k_var), name="norm_spread"
    )
    epsilon = tirx.const(product.epsilon, "float32")
    means = te.compute((rows,), lambda i: total[i] * inverse, name="means")
    scales = te.compute(
        (rows,), lambda i: tirx.const(1.0, "float32") / te.sqrt(spread[i] * inverse + epsilon), name="scales"
    )
    rounded = te.compute((rows, depth), lambda i, j: x[i, j].astype(product.dtype), name="rounded")
    products = te.compute(
        (rows, columns),
        lambda i, j: te.sum(rounded[i, k].astype("float32") * weights[k, j].astype("float32"), axis=k),
        name="product",
    )
    normed = te.compute(
        (rows, columns), lambda i, j: (products[i, j] - means[i] * sums[j]) * scales[i] + bias[j], name="normed"
    )
    out = ACTIVATIONS[product.activation](normed)
    made = te.create_prim_func([x, weights, sums, bias, means, scales, out], index_dtype_override="int64")
    return made.with_attr({"global_symbol": "main", **attributes(product)})


def residual(added: Any, x: Any, means: Any, scales: Any, gamma: Any, beta: Any) -> Any:
    """Normalised rows of ``x`` added to others; what it reads by rows alone is a vector, so that it fuses."""
    return te.compute(
        x.shape,
        lambda i, j: added[i, j] + ((x[i, j] - means[i]) * scales[i] * gamma[j] + beta[j]),
        name="residual",
    )
