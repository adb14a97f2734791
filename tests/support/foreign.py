"""What may come from others: any JSON, any bytes, and good documents that are damaged in some places."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st

from tuner.errors import TunerError

T = TypeVar("T")

_ODD = [None, True, False, 0, -1, 1, 2**31, 2**63, -(2**70), 0.5, -0.0, 1e308, "", "\x00", "\ud800", "é", "x" * 5000, [], {}]  # fmt: skip # noqa: E501
STRANGE = st.one_of(st.sampled_from(_ODD), st.integers(), st.floats(), st.text(max_size=20))


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)


JSON = st.recursive(STRANGE, _nested, max_leaves=8)


@st.composite
def damaged(draw: st.DrawFn, good: Any) -> Any:
    """A document like ``good``, with up to three places that hold something else, are gone or are there twice."""
    found = [copy.deepcopy(good)]
    for _ in range(draw(st.integers(0, 3))):
        _damage(draw, found)
    return found[0]


def _damage(draw: st.DrawFn, found: list[Any]) -> None:
    holder: Any = found
    key: Any = 0
    while isinstance(holder[key], (dict, list)) and holder[key] and draw(st.integers(0, 9)):
        holder = holder[key]
        key = (
            draw(st.sampled_from(sorted(holder))) if isinstance(holder, dict) else draw(st.integers(0, len(holder) - 1))
        )
    match draw(st.sampled_from(["change", "change", "change", "remove", "double", "nest"])):
        case "remove" if holder is not found:
            del holder[key]
        case "double" if isinstance(holder, list) and holder is not found:
            holder.insert(key, copy.deepcopy(holder[key]))
        case "nest":
            holder[key] = [holder[key]]
        case _:
            holder[key] = draw(JSON)


def attempt(kinds: type[Exception], act: Callable[..., T], *args: Any) -> T | None:
    """What ``act`` gives; None when it refuses, in words that can be sent. Any other exception goes on."""
    try:
        return act(*args)
    except kinds as refusal:
        words = refusal.message + refusal.hint if isinstance(refusal, TunerError) else str(refusal)
        assert words.encode(), "a refusal says why"
        return None


def text_of(document: Any) -> str:
    """As JSON; what has no JSON of its own (NaN, half of a pair) is written as others would."""
    return json.dumps(document)


def texts(good: Any) -> st.SearchStrategy[str]:
    """Documents like ``good``, any JSON, and text that is none."""
    return damaged(good).map(text_of) | JSON.map(text_of) | st.text(max_size=50) | st.sampled_from(DEEP)


@st.composite
def spoilt(draw: st.DrawFn, good: bytes) -> bytes:
    """Bytes like ``good``: some changed, cut out, put in or at their end."""
    content = bytearray(good)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 1, 2, 8, 100, len(good)])))
        content[start:end] = draw(st.binary(max_size=12))
    return bytes(content)


def files(*good: bytes) -> st.SearchStrategy[bytes]:
    """Files like one of these, plain, packed by gzip, or packed and then spoilt."""
    plain = st.one_of(*(spoilt(one) for one in good), st.binary(max_size=100))
    packed = plain.map(lambda content: gzip.compress(content, mtime=0))
    return plain | packed | packed.flatmap(spoilt)


DEEP = ["[" * 3_000 + "]" * 3_000, '{"a":' * 3_000 + "1" + "}" * 3_000, "[" * 100_000]
