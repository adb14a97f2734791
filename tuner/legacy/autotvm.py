"""Logs of AutoTVM, TVM's older tuner: told from Ansor's, which look alike, and not read. Pure.

A line names a template, by which nothing is tuned here: ``{"i": [target, template, arguments, {}, workload, config],
"r": [...], "v": 0.1}``, since TVM 0.7 ``{"input": [target, template, ...], "config": {...}, "result": [...]}``.
"""

from __future__ import annotations

from tuner import strict_json


def is_autotvm(line: bytes) -> bool:
    """Does this line look like one of AutoTVM's?"""
    try:
        value = strict_json.parse(line)
    except ValueError:
        return False
    if not isinstance(value, dict):
        return False
    is_newer = {"input", "config", "result"} <= set(value)
    given = value.get("input" if is_newer else "i")
    is_either = is_newer or {"r", "v"} <= set(value)
    return is_either and isinstance(given, list) and len(given) > 2 and all(isinstance(one, str) for one in given[:2])
