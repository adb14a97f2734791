"""What is sent to a database, made fit for every one of them before it is.

Postgres refuses texts with NUL and JSON with NaN, SQLite stores NaN as nothing, neither takes half a surrogate pair. A
compiler's message or a device's facts may hold them, and losing them must not lose the row.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

REPLACEMENT = "\ufffd"
_UNFIT = re.compile("[\x00\ud800-\udfff]")


def fit(value: Any) -> Any:
    """A statement's parameters, or one of them: texts without NUL, numbers that are finite (others are nothing)."""
    if isinstance(value, str):
        return value if value.isascii() and "\x00" not in value else _UNFIT.sub(REPLACEMENT, value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {fit(name): fit(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(fit, value))
    return value


def to_json(value: Any) -> str:
    """JSON as its standard has it: without NaN and infinities."""
    return json.dumps(fit(value), allow_nan=False)
