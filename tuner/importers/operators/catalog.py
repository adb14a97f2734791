"""Operators that can be tuned by themselves, as data: names, what their arguments mean, their arithmetic. No TVM."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tuner import strict_json
from tuner.errors import InvalidInput, ModelUnknown

PREFIX = "op:"
_MAX_EXTENT = 2**31 - 1
_MAX_BYTES = 4 * 1024**3  # of all tensors together: a mistyped extent is refused before anything is allocated

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """One operator: ``shapes`` gives the shapes of its tensors by arguments, the result last; ``flops`` those of its
    product, two for each multiply-add, so that a fused operator and the plain one compare. ``or_zero`` are the
    parameters that may be zero, all others are positive."""

    name: str
    parameters: tuple[str, ...]
    description: str
    shapes: Callable[..., tuple[Shape, ...]]
    flops: Callable[..., float]
    fused: bool = False  # more than a product
    or_zero: frozenset[str] = frozenset()

    @property
    def usage(self) -> str:
        """How it is written."""
        rest = f"; {', '.join(sorted(self.or_zero))} may be 0" if self.or_zero else ""
        return f"Write it as {PREFIX}{self.name}:{','.join(self.parameters)}, with positive whole numbers{rest}."

    def takes(self, numbers: Sequence[int]) -> bool:
        """Are these as many as it has parameters, and each within what it may be?"""
        return len(numbers) == len(self.parameters) and all(
            (0 if name in self.or_zero else 1) <= number <= _MAX_EXTENT
            for name, number in zip(self.parameters, numbers, strict=True)
        )


@dataclass(frozen=True)
class Operator:
    """An operator with its arguments."""

    kind: Kind
    args: tuple[int, ...]

    @property
    def text(self) -> str:
        """Its one spelling as a model's name: ``op:gemm:128,3072,768``."""
        return f"{PREFIX}{self.kind.name}:{','.join(map(str, self.args))}"

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shapes of its float32 tensors, the result last."""
        return self.kind.shapes(*self.args)

    @property
    def flops(self) -> float:
        """Floating-point operations of its product."""
        return self.kind.flops(*self.args)


def _gemm_shapes(m: int, n: int, k: int) -> tuple[Shape, ...]:
    return (m, k), (n, k), (m, n)


def _gemm_flops(m: int, n: int, k: int) -> float:
    return 2.0 * m * n * k


def _batch_gemm_shapes(b: int, m: int, n: int, k: int) -> tuple[Shape, ...]:
    return (b, m, k), (b, n, k), (b, m, n)


def _batch_gemm_flops(b: int, m: int, n: int, k: int) -> float:
    return 2.0 * b * m * n * k


def _conv2d_shapes(n: int, c: int, h: int, w: int, f: int, k: int, s: int, p: int) -> tuple[Shape, ...]:
    down, across = ((extent + 2 * p - k) // s + 1 for extent in (h, w))
    return (n, c, h, w), (f, c, k, k), (n, f, down, across)


def _conv2d_flops(n: int, c: int, h: int, w: int, f: int, k: int, s: int, p: int) -> float:
    *_, result = _conv2d_shapes(n, c, h, w, f, k, s, p)
    return 2.0 * math.prod(result) * c * k * k


_ALL = (
    Kind("gemm", ("M", "N", "K"), "a (M,K) times constant b (N,K) transposed", _gemm_shapes, _gemm_flops),
    Kind(
        "swish_gemm",
        ("M", "N", "K"),
        "gemm, then hard-swish: x * clip(x + 3, 0, 6) / 6",
        _gemm_shapes,
        _gemm_flops,
        fused=True,
    ),
    Kind(
        "batch_gemm",
        ("B", "M", "N", "K"),
        "B products of a (M,K) and b (N,K) transposed",
        _batch_gemm_shapes,
        _batch_gemm_flops,
    ),
    Kind(
        "conv2d",
        ("N", "C", "H", "W", "F", "K", "S", "P"),
        "x (N,C,H,W) convolved with F constant filters (C,K,K), stride S, padding P",
        _conv2d_shapes,
        _conv2d_flops,
        or_zero=frozenset("P"),
    ),
)
KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _ALL})


def is_operator(text: str) -> bool:
    """Is a model's name meant as an operator: ``op:...`` or a JSON object?"""
    return text.startswith((PREFIX, "{"))


def parse(text: str) -> Operator:
    """The operator of ``op:gemm:128,3072,768`` or ``{"op": "gemm", "args": [128, 3072, 768]}``.

    Raises ModelUnknown (no such operator) or InvalidInput (arguments).
    """
    if text.startswith("{"):
        try:
            given = strict_json.parse(text, max_depth=4)
            name, args = given["op"], given["args"]
        except (ValueError, KeyError, TypeError):
            raise InvalidInput(
                "The operator's JSON lacks op or args.", 'Write it as {"op": "gemm", "args": [128, 3072, 768]}.'
            ) from None
    else:
        name, _, rest = text.removeprefix(PREFIX).partition(":")
        args = [part.strip() for part in rest.split(",")] if rest.strip() else []
    return operator(str(name), args if isinstance(args, list) else [args])


def operator(name: str, args: list[object]) -> Operator:
    """The operator of this name with these arguments, numbers or their text. Raises ModelUnknown or InvalidInput."""
    kind = KINDS.get(name)
    if kind is None:
        near = difflib.get_close_matches(name, KINDS, n=2, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Operators: {', '.join(KINDS)}."
        raise ModelUnknown(f"There is no operator {name!r}.", hint)
    try:
        numbers = tuple(int(str(arg)) for arg in args)
    except ValueError:
        raise InvalidInput(f"{name} got arguments that are no whole numbers: {_shown(args)}.", kind.usage) from None
    if not kind.takes(numbers):
        raise InvalidInput(f"{name} can't take the arguments {_shown(args)}.", kind.usage)
    found = Operator(kind, numbers)
    if min(map(min, found.shapes)) < 1:
        raise InvalidInput(f"The result of {found.text} would be empty.", "Its filters must fit into what is padded.")
    size_bytes = 4 * sum(math.prod(shape) for shape in found.shapes)
    if size_bytes > _MAX_BYTES:
        raise InvalidInput(
            f"The tensors of {found.text} take {size_bytes / 2**30:,.0f} GiB.",
            f"Use smaller extents; up to {_MAX_BYTES // 2**30} GiB are allowed.",
        )
    return found


def _shown(args: list[object]) -> str:
    """Arguments as far as anybody reads them."""
    return ", ".join(str(arg)[:20] for arg in args[:8]) or "none"
