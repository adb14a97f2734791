"""Attention as one kernel, or as four, that read queries, keys and values where the projection left them.

One: ``attention_kernel.py``. Four:

    transpose   K            -> (batch, heads, dim, seq)   so that the scores vectorise over keys
    scores      Q, K^T, mask -> (batch, heads, seq, seq)   scale and mask in the epilogue
    softmax
    context     P, V         -> (rows, heads * dim)        written as the next projection reads it

No split, head transpose or reshape is ever copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

from tvm import relax, te, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator

from tuner.graph.attention_kernel import Attention, definition
from tuner.graph.operators import softmax_last_axis
from tuner.graph.rewriting import rewritten
from tuner.graph.rows import same, shape_of
from tuner.graph.uses import op_name

STARTS = "starts"  # the input that tells where each text begins among the rows
_LONG = 256  # tokens from which scores fit no near cache: one kernel then takes two thirds of the time of four
_MATRIX, _WIDEST = 8, 160  # of a head whose matrices fit the registers of an Apple GPU


@dataclass(frozen=True)
class _Columns:
    """Where one of Q, K, V lies: columns from ``start`` on of a ``(rows, width)`` tensor."""

    source: Any
    start: int


def _transposed_keys(batch: int, seq: int, heads: int, dim: int, start: int) -> Any:
    def keys_t(qkv: Any) -> Any:
        return te.compute(
            (batch, heads, dim, seq), lambda b, h, d, j: qkv[b * seq + j, start + h * dim + d], name="keys_t"
        )

    return keys_t


def _scores(batch: int, seq: int, heads: int, dim: int, start: int, scale: float) -> Any:
    def scores(qkv: Any, keys_t: Any, *mask: Any) -> Any:
        k = te.reduce_axis((0, dim), "k")
        product = te.compute(
            (batch, heads, seq, seq),
            lambda b, h, i, j: te.sum(qkv[b * seq + i, start + h * dim + k] * keys_t[b, h, k, j], axis=k),
            name="scores",
        )
        factor = tirx.const(scale, "float32")
        if not mask:
            return te.compute(product.shape, lambda *i: product(*i) * factor, name="scaled")
        bias = mask[0]
        at = [lambda i, extent=extent: 0 if int(extent) == 1 else i for extent in bias.shape]
        return te.compute(
            product.shape,
            lambda *i: product(*i) * factor + bias(*(pick(x) for pick, x in zip(at, i, strict=True))),
            name="masked",
        )

    return scores


def _context(batch: int, seq: int, heads: int, dim: int, start: int) -> Any:
    def context(probs: Any, qkv: Any) -> Any:
        k = te.reduce_axis((0, seq), "k")
        rows = te.compute(
            (batch, seq, heads, dim),
            lambda b, i, h, d: te.sum(probs[b, h, i, k] * qkv[b * seq + k, start + h * dim + d], axis=k),
            name="context",
        )
        return rows

    return context


@mutator
class _Rewriter(PyExprMutator):
    """Replaces ``relax.nn.attention[_bias]``."""

    def __init__(self, mod: Any, kind: str, longest: int) -> None:
        super().__init__(mod)
        self._kind = kind
        self._longest = longest
        self._kernels: dict[Attention, Any] = {}
        self._starts = next((param for param in mod["main"].params if str(param.name) == STARTS), None)

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        if op_name(call) not in ("nn.attention", "nn.attention_bias") or call.attrs.causal_mask is not None:
            return call
        shapes = [shape_of(a) for a in call.args[:3]]
        if shapes[0] is None or any(s is None or not same(s, shapes[0]) for s in shapes):
            return call
        batch, seq, heads, dim = shapes[0]
        rows = seq if self._starts is not None else batch * seq
        query, key, value = (self._columns(a, rows, heads * dim) for a in call.args[:3])
        scale = 1.0 / sqrt(dim) if call.attrs.scale is None else float(call.attrs.scale.value)
        bias = list(call.args[3:])
        if self._starts is not None:
            return self._one(
                self._attention(heads, dim, scale, (query, key, value), longest=self._longest),
                rows,
                query,
                key,
                value,
                [self._starts],
            )
        shape = shape_of(bias[0]) if bias else ()
        if shape is None or not _is_one(self._kind, seq, dim, shape):
            return self._four(batch, seq, heads, dim, scale, (query, key, value), bias)
        fixed = self._attention(heads, dim, scale, (query, key, value), longest=seq, texts=batch, bias=shape)
        return self._one(fixed, rows, query, key, value, bias)

    def _attention(self, heads: int, dim: int, scale: float, qkv: tuple[_Columns, ...], **rest: Any) -> Attention:
        sources = _distinct(*qkv)
        widths = tuple(shape_of(source)[-1] for source in sources)  # type: ignore[index]
        query, key, value = (
            (next(n for n, source in enumerate(sources) if source.same_as(one.source)), one.start) for one in qkv
        )
        return Attention(heads, dim, scale, widths, query, key, value, **rest)

    def _one(self, attention: Attention, rows: Any, query: Any, key: Any, value: Any, rest: list[Any]) -> relax.Expr:
        if attention not in self._kernels:
            own = definition(attention).without_attr("global_symbol")
            self._kernels[attention] = self.builder_.add_func(own, "attention")
        kernel = self._kernels[attention]
        arguments = [*_distinct(query, key, value), *rest]
        out = relax.TensorType((rows, attention.heads * attention.dim), "float32")
        return relax.call_tir(kernel, arguments, out)

    def _four(self, batch: int, seq: int, heads: int, dim: int, scale: float, qkv: Any, bias: list[Any]) -> relax.Expr:
        query, key, value = qkv
        emit_te = self.builder_.emit_te
        keys_t = emit_te(_transposed_keys(batch, seq, heads, dim, key.start), key.source, primfunc_name_hint="keys_t")
        scores = emit_te(
            _scores(batch, seq, heads, dim, query.start, scale),
            query.source,
            keys_t,
            *bias,
            primfunc_name_hint="attention_scores",
        )
        probs = emit_te(softmax_last_axis, scores, primfunc_name_hint="softmax")
        return self.builder_.call_te(
            _context(batch, seq, heads, dim, value.start), probs, value.source, primfunc_name_hint="attention_context"
        )

    def _columns(self, expr: relax.Expr, rows: Any, width: int) -> _Columns:
        """Trace an operand back to the projection it is a slice of; else view it as ``(rows, width)``."""
        source = expr
        value = self.lookup_binding(expr) if isinstance(expr, relax.Var) else expr
        if op_name(value) == "reshape":
            source = value.args[0]
            if (known := shape_of(source)) is not None and same(known, (rows, width)):
                return self._slice_of(source)
        return _Columns(self.builder_.emit(relax.op.reshape(source, (rows, width))), 0)

    def _slice_of(self, var: relax.Expr) -> _Columns:
        item = self.lookup_binding(var)
        while isinstance(item, relax.Var):
            item = self.lookup_binding(item)
        if not isinstance(item, relax.TupleGetItem):
            return _Columns(var, 0)
        split = self.lookup_binding(item.tuple_value)
        if op_name(split) != "split":
            return _Columns(var, 0)
        starts = [0]
        for field in split.ty.fields:
            starts.append(starts[-1] + int(field.shape[1]))
        return _Columns(split.args[0], starts[int(item.index)])


def _distinct(*columns: _Columns) -> list[Any]:
    """The tensors that columns are of, each once."""
    found: list[Any] = []
    for one in columns:
        if not any(one.source.same_as(known) for known in found):
            found.append(one.source)
    return found


def _is_one(kind: str, seq: int, dim: int, bias: tuple[Any, ...]) -> bool:
    """Has this kind of target one kernel for sequences and heads of this size, and for a bias of this shape?"""
    if kind == "metal":
        return dim % _MATRIX == 0 and dim <= _WIDEST and (not bias or same(bias[2:], (bias[2], seq)))
    return kind == "llvm" and seq >= _LONG and (not bias or same(bias[2:3], (1,)))


def rewrite_attention(mod: Any, kind: str, longest: int = 0) -> Any:
    """Rewrite every attention operator of ``main`` into kernels over the fused projection: one where this ``kind`` of
    target has such a kernel, else four: a CPU's has none for a bias that differs by query. Where ``main`` takes
    ``starts``, its rows are texts of up to ``longest`` one after the other."""
    return rewritten(mod, _Rewriter(mod, kind, longest))
