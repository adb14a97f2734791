"""How operators become tensor expressions: forms whose loops vectorise, where the stock ones call scalar libm.

exp and erf use TVM's polynomial approximations (``topi.fast_exp``, ``topi.fast_erf``: relative error about 1e-7 and
4e-7 in float32), which LLVM vectorises; the verification against PyTorch bounds what they cost in accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, te, tirx, topi


def gelu(x: Any) -> Any:
    """GELU by the error function, of any shape, float32: ``x * (1 + erf(x / sqrt(2))) / 2``."""
    scaled = te.compute(x.shape, lambda *i: x(*i) * tirx.const(0.7071067811865476, x.dtype), name="gelu_scaled")
    erf = topi.fast_erf(scaled)
    half = tirx.const(0.5, x.dtype)
    return te.compute(x.shape, lambda *i: x(*i) * half * (tirx.const(1.0, x.dtype) + erf(*i)), name="gelu")


def gelu_tanh(x: Any) -> Any:
    """GELU by tanh, of any shape, float32 (Hendrycks & Gimpel 2016)."""
    cubic = te.compute(
        x.shape,
        lambda *i: (
            x(*i)
            * (tirx.const(0.7978845608028654, x.dtype) + tirx.const(0.035677408136300125, x.dtype) * x(*i) * x(*i))
        ),
        name="gelu_cubic",
    )
    tanh = topi.fast_tanh(cubic)
    half = tirx.const(0.5, x.dtype)
    return te.compute(x.shape, lambda *i: x(*i) * half * (tirx.const(1.0, x.dtype) + tanh(*i)), name="gelu_tanh")


def sigmoid(x: Any) -> Any:
    """``1 / (1 + exp(-x))``, of any shape, float32."""
    one = tirx.const(1.0, x.dtype)
    powers = topi.fast_exp(te.compute(x.shape, lambda *i: tirx.const(0.0, x.dtype) - x(*i), name="negated"))
    return te.compute(x.shape, lambda *i: one / (one + powers(*i)), name="sigmoid")


def silu(x: Any) -> Any:
    """``x * sigmoid(x)``, of any shape, float32."""
    gate = sigmoid(x)
    return te.compute(x.shape, lambda *i: x(*i) * gate(*i), name="silu")


def softmax_last_axis(x: Any) -> Any:
    """Softmax over the last axis, float32, of any rank; the maximum is taken off first."""
    *outer, length = x.shape
    k_max, k_sum = te.reduce_axis((0, length), "k"), te.reduce_axis((0, length), "k")
    peak = te.compute(outer, lambda *i: te.max(x(*i, k_max), axis=k_max), name="softmax_max")
    shifted = te.compute(x.shape, lambda *i: x(*i) - peak(*i[:-1]), name="softmax_shifted")
    powers = topi.fast_exp(shifted)
    total = te.compute(outer, lambda *i: te.sum(powers(*i, k_sum), axis=k_sum), name="softmax_sum")
    return te.compute(x.shape, lambda *i: powers(*i) / total(*i[:-1]), name="softmax")


def layer_norm_rows(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Layer normalisation of ``(rows, n)`` over ``n``, float32, by the two-pass variance."""
    rows, n = x.shape
    k_mean, k_var = te.reduce_axis((0, n), "k"), te.reduce_axis((0, n), "k")
    inverse = tirx.const(1.0 / int(n), x.dtype)
    total = te.compute((rows,), lambda i: te.sum(x[i, k_mean], axis=k_mean), name="norm_sum")
    centred = te.compute((rows, n), lambda i, j: x[i, j] - total[i] * inverse, name="norm_centred")
    spread = te.compute(
        (rows,), lambda i: te.sum(centred[i, k_var] * centred[i, k_var], axis=k_var), name="norm_spread"
    )
    scale = te.compute(
        (rows,),
        lambda i: tirx.const(1.0, x.dtype) / te.sqrt(spread[i] * inverse + tirx.const(epsilon, x.dtype)),
        name="norm_scale",
    )
    return te.compute((rows, n), lambda i, j: centred[i, j] * scale[i] * gamma[j] + beta[j], name="norm")


# By the names of the graph's operators.
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "nn.gelu": gelu,
    "nn.gelu_tanh": gelu_tanh,
    "nn.silu": silu,
    "sigmoid": sigmoid,
}


def _legal_activation(bb: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    compute = ACTIVATIONS[str(call.op.name).removeprefix("relax.")]
    return bb.call_te(compute, call.args[0], primfunc_name_hint=compute.__name__)


def _legal_layer_norm(bb: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    x, gamma, beta = call.args
    rank = len(x.ty.shape)
    if rank != 2:
        return relax.transform.legalize_ops.nn._nn_layer_norm(bb, call)
    return bb.call_te(layer_norm_rows, x, gamma, beta, float(call.attrs.epsilon), primfunc_name_hint="layer_norm")


def legalizations() -> dict[str, Any]:
    """Operator name to legalisation, for ``relax.transform.LegalizeOps``."""
    return {
        **{f"relax.{name}": _legal_activation for name in ACTIVATIONS},
        "relax.nn.layer_norm": _legal_layer_norm,
    }
