"""Values of a foreign log, each as it may be, or a ValueError that names it. Pure."""

from __future__ import annotations

from typing import Any

_MAX_INTEGER = 2**31 - 1
_MAX_CHARS = 4000


def text(value: Any, what: str) -> str:
    """A text that can be stored."""
    if not isinstance(value, str) or len(value) > _MAX_CHARS or "\x00" in value:
        raise ValueError(f"the {what} is no text of at most {_MAX_CHARS} characters")
    value.encode()  # half of a pair of surrogates is no text either, and says so as a ValueError
    return value


def number(value: Any, what: str, least: int = -_MAX_INTEGER, most: int = _MAX_INTEGER) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f"the {what} is no number from {least} to {most}")
    return int(value)


def numbers(values: Any, what: str) -> None:
    """Whole numbers, of which there may be none."""
    for value in values:
        number(value, what)
