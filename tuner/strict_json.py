"""JSON that others wrote. Pure: whatever the text is, it is a value that can be stored and sent, or a ValueError."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def parse(text: str | bytes, max_depth: int | None = None) -> Any:
    """The value: numbers are finite, text has no half of a pair of surrogates. Raises ValueError for all else, also for
    what is nested deeper than ``max_depth``, or too deep to be read at all."""
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if max_depth is not None and depth(value) > max_depth:
        raise ValueError(f"it is nested deeper than {max_depth} lists and objects")
    if (b"\\ud" if isinstance(text, bytes) else "\\ud") in text.lower():  # type: ignore[operator]
        json.dumps(value, ensure_ascii=False).encode()
    return value


def dump(value: Any, what: str, most_chars: int) -> str:
    """The value as compact JSON. Raises ValueError naming ``what`` when it is too long or no JSON."""
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{what}: {error}") from None
    if len(text) > most_chars:
        raise ValueError(f"{what}: {len(text)} characters, {most_chars} are allowed")
    return text


def depth(value: Any) -> int:
    """How many lists and objects are nested in each other."""
    deepest, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        deepest += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return deepest


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no finite number")
