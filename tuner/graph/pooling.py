"""One vector of each text's tokens, where texts of any lengths lie one after the other: a kernel of its own.

Opaque to TVM, as attention over texts is: how many rows a text has is known when it runs. PyTorch's graphs name it by
an operator that ``importers/pooled.py`` defines.
"""

from __future__ import annotations

from math import gcd
from typing import Any

from tvm import relax, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tuner.graph.attention_kernel import OPAQUE, body
from tuner.graph.rows import shape_of

OPERATOR = "pool_rows"
ATTRIBUTE = "tunesmith.pooling"
_COLUMNS, _LANES = 64, 16  # a task's, and a vector's
_LOWEST = -3.4028234663852886e38


def importers() -> dict[str, Any]:
    """How the operator is taken from a PyTorch graph, for ``from_exported_program``; and the largest of an axis, which
    TVM's importer has only with its place."""
    return {f"{OPERATOR}.default": _convert, "amax.default": _largest}


def _largest(node: Any, importer: Any) -> Any:
    value, axes, *keep = node.args
    return importer.block_builder.emit(relax.op.max(importer.env[value], list(axes), bool(keep and keep[0])))


def _convert(node: Any, importer: Any) -> Any:
    rows, starts, mode = importer.env[node.args[0]], importer.env[node.args[1]], str(node.args[2])
    of_rows, of_starts = shape_of(rows), shape_of(starts)
    assert of_rows is not None
    assert of_starts is not None
    width, texts = int(of_rows[1]), of_starts[0]
    builder = importer.block_builder
    kernel = builder.add_func(definition(width, mode).without_attr("global_symbol"), OPERATOR)
    out = relax.TensorType((texts, width), "float32")
    return builder.emit(relax.call_tir(kernel, [rows, starts], out))


def definition(width: int, mode: str) -> Any:
    """The kernel, a PrimFunc: rows ``(tokens, width)`` and the ``starts (texts,)`` to ``(texts, width)``, by a mode of
    ``importers/sentence.py``."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name("main")
        about = {ATTRIBUTE: mode, "op_pattern": OPAQUE}
        T.func_attr({"global_symbol": "main", "tirx.noalias": True, **about})
        tokens, texts = tirx.Var("tokens", "int64"), tirx.Var("texts", "int64")
        rows = T.match_buffer(T.arg("rows", T.handle()), (tokens, width), "float32")
        starts = T.match_buffer(T.arg("starts", T.handle()), (texts,), "int32")
        out = T.match_buffer(T.arg("out", T.handle()), (texts, width), "float32")
        with body(OPERATOR, [rows, starts], out):
            _emit(rows, starts, out, tokens, texts, width, mode)
    return builder.get()


def _emit(rows: Any, starts: Any, out: Any, tokens: Any, texts: Any, width: int, mode: str) -> None:
    columns = gcd(width, _COLUMNS)
    lanes = gcd(columns, _LANES)
    parts = width // columns
    with T.parallel(0, texts * parts) as task:
        text, first = T.bind(task // parts), T.bind(task % parts * columns)
        start = T.bind(T.cast(starts[text], "int64"))
        following = T.cast(starts[T.min(text + 1, texts - 1)], "int64")
        length = T.bind(T.if_then_else(text + 1 < texts, following, tokens) - start)
        with T.serial(0, columns // lanes) as vector:
            total = T.alloc_buffer((lanes,), "float32")
            with T.vectorized(0, lanes) as lane:
                T.buffer_store(total, T.float32(_LOWEST if mode == "max" else 0), [lane])
            with T.serial(*_span(mode, length)) as row, T.vectorized(0, lanes) as lane:
                value = rows[start + row, first + vector * lanes + lane]
                if mode == "weightedmean":
                    value = value * T.cast(row + 1, "float32")
                joined = T.max(total[lane], value) if mode == "max" else total[lane] + value
                T.buffer_store(total, joined, [lane])
            with T.vectorized(0, lanes) as lane:
                T.buffer_store(out, total[lane] / _divisor(mode, length), [text, first + vector * lanes + lane])


def _span(mode: str, length: Any) -> tuple[Any, Any]:
    """The rows of a text that are looked at."""
    if mode == "cls":
        return 0, T.min(length, 1)
    return (T.max(length - 1, 0), length) if mode == "lasttoken" else (0, length)


def _divisor(mode: str, length: Any) -> Any:
    """What a text's sum is divided by; one without rows (there are none) would be zeros."""
    count = T.cast(T.max(length, 1), "float32")
    if mode == "mean":
        return count
    if mode == "mean_sqrt_len_tokens":
        return tirx.sqrt(count)
    return count * (count + T.float32(1)) * T.float32(0.5) if mode == "weightedmean" else T.float32(1)
