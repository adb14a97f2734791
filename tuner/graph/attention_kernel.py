"""Attention as one operator of the graph: what it computes, and the plain kernel that says so.

The kernel is opaque to TVM, nothing fuses with it; ``kernels/attention.py`` writes the fast ones. Texts lie one after
the other among the rows, ``starts`` tells where each begins; or they are all of one length.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

ATTRIBUTE = "tunesmith.attention"
OPAQUE = 8  # TVM's pattern of a kernel that nothing may be fused with


@dataclass(frozen=True)
class Attention:
    """What is computed. ``widths`` are the columns of the tensors that queries, keys and values are columns of, each
    from ``(source, column)`` on; of every one of ``texts`` there are ``longest`` rows, where ``texts`` is 0 that and
    their lengths are known when it runs. ``bias``: shape of what is added to the scores, ``(texts, heads, longest,
    longest)`` or 1 for any of the first three. Operands of both products are rounded to ``dtype``, sums are float32.
    """

    heads: int
    dim: int
    scale: float
    widths: tuple[int, ...]
    query: tuple[int, int]
    key: tuple[int, int]
    value: tuple[int, int]
    longest: int
    texts: int = 0
    bias: tuple[int, ...] = ()
    dtype: str = "float32"

    @property
    def flops(self) -> float:
        """Floating-point operations, both products and the softmax between."""
        return self.flops_of(self.texts, self.longest)

    def flops_of(self, texts: int, length: int) -> float:
        """The same, of so many texts of this length."""
        return texts * self.heads * float(length) ** 2 * (4 * self.dim + 28)

    @property
    def element_bytes(self) -> int:
        """Of an operand."""
        return 2 if self.dtype == "float16" else 4

    @property
    def is_rounded(self) -> bool:
        """Are operands shorter than float32?"""
        return self.dtype != "float32"

    @property
    def ragged(self) -> bool:
        """Are lengths known only when it runs?"""
        return not self.texts


def attention_of(func: Any) -> Attention | None:
    """What a function computes, if it is one of these."""
    if not func.attrs or ATTRIBUTE not in func.attrs:
        return None
    fields: dict[str, Any] = json.loads(str(func.attrs[ATTRIBUTE]))
    values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in fields.items()}
    return Attention(**values)


@dataclass(frozen=True)
class Signature:
    """The buffers of such a kernel and its number of texts, while it is written."""

    attention: Attention
    sources: list[Any]
    starts: Any
    bias: Any
    out: Any
    texts: Any

    @property
    def read(self) -> list[Any]:
        """The buffers that are read."""
        return [*self.sources, *(buffer for buffer in (self.starts, self.bias) if buffer is not None)]

    def span(self, text: Any) -> tuple[Any, Any]:
        """First row and length of a text."""
        if self.starts is None:
            return T.bind(text * self.attention.longest), self.attention.longest
        start = T.bind(T.cast(self.starts[text], "int64"))
        following = T.cast(self.starts[T.min(text + 1, self.texts - 1)], "int64")
        return start, T.bind(T.if_then_else(text + 1 < self.texts, following, self.out.shape[0]) - start)

    def added(self, text: Any, head: Any, query: Any, key: Any) -> Any:
        """What the bias adds to the score of a query and a key."""
        broadcast = zip(self.bias.shape[:3], (text, head, query), strict=True)
        place = (*(0 if int(extent) == 1 else index for extent, index in broadcast), key)
        return self.bias[place]


@contextmanager
def body(name: str, read: list[Any], written: Any) -> Iterator[None]:
    """The body of a kernel as TVM's passes want it: one block that says what it reads and writes. Left to itself the
    builder works that out, at length and not twice alike."""
    with T.sblock("root"), T.sblock(name):
        T.reads(*map(whole, read))
        T.writes(whole(written))
        yield


def whole(buffer: Any) -> Any:
    return buffer[tuple(slice(0, extent) for extent in buffer.shape)]


def declare(attention: Attention) -> Signature:
    """Name the kernel being written ``main``, give it attributes and arguments: sources, ``starts`` where lengths vary,
    the bias if there is one, the result ``(rows, heads * dim)``."""
    T.func_name("main")
    fields = {name: value for name, value in asdict(attention).items() if (name, value) != ("dtype", "float32")}
    about = {ATTRIBUTE: json.dumps(fields, sort_keys=True), "op_pattern": OPAQUE}
    T.func_attr({"global_symbol": "main", "tirx.noalias": True, **about})
    ragged = attention.ragged
    rows = tirx.Var("tokens", "int64") if ragged else attention.texts * attention.longest
    texts = tirx.Var("texts", "int64") if ragged else attention.texts

    def argument(name: str, shape: tuple[Any, ...], dtype: str = "float32") -> Any:
        return T.match_buffer(T.arg(name, T.handle()), shape, dtype)

    sources = [argument(f"source{n}", (rows, width)) for n, width in enumerate(attention.widths)]
    starts = argument("starts", (texts,), "int32") if ragged else None
    bias = argument("bias", attention.bias) if attention.bias else None
    out = argument("out", (rows, attention.heads * attention.dim))
    return Signature(attention, sources, starts, bias, out, texts)


def definition(attention: Attention) -> Any:
    """The plain kernel, a PrimFunc: one query after the other."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        signature = declare(attention)
        with body("attention", signature.read, signature.out):
            _emit(signature)
    return builder.get()


def _emit(here: Signature) -> None:
    attention, dim = here.attention, here.attention.dim
    with T.parallel(0, here.texts * attention.heads) as task:
        head, text = T.bind(task // here.texts), T.bind(task % here.texts)
        start, length = here.span(text)

        def read(of: tuple[int, int], row: Any, column: Any) -> Any:
            source, first = of
            return here.sources[source][start + row, first + head * dim + column]

        def rounded(value: Any) -> Any:
            return T.cast(T.cast(value, attention.dtype), "float32") if attention.is_rounded else value

        scale = T.float32(attention.scale)
        scores, peak, total, one = (T.alloc_buffer((n,), "float32") for n in (attention.longest, 1, 1, 1))
        with T.serial(0, length) as i:
            T.buffer_store(peak, T.float32(-3e38), [0])
            with T.serial(0, length) as j:
                T.buffer_store(one, T.float32(0), [0])
                with T.serial(0, dim) as d:
                    query, key = read(attention.query, i, d), rounded(read(attention.key, j, d))
                    product = (rounded(query * scale) if attention.is_rounded else query) * key
                    T.buffer_store(one, one[0] + product, [0])
                value = one[0] if attention.is_rounded else one[0] * scale
                T.buffer_store(scores, value if here.bias is None else value + here.added(text, head, i, j), [j])
                T.buffer_store(peak, T.max(peak[0], scores[j]), [0])
            T.buffer_store(total, T.float32(0), [0])
            with T.serial(0, length) as j:
                T.buffer_store(scores, T.exp(scores[j] - peak[0]), [j])
                T.buffer_store(total, total[0] + scores[j], [0])
            with T.serial(0, dim) as d:
                T.buffer_store(one, T.float32(0), [0])
                with T.serial(0, length) as j:
                    weighed = rounded(scores[j]) * rounded(read(attention.value, j, d))
                    T.buffer_store(one, one[0] + weighed, [0])
                T.buffer_store(here.out, one[0] / total[0], [start + i, head * dim + d])
