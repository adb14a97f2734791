"""Targets as tvmc's users write them: ``llvm -mcpu=skylake -mattr=+avx2,+fma``."""

from __future__ import annotations

import json
import re
from typing import Any

from tuner.errors import TargetUnknown

_OPTION = re.compile(r"-{1,2}([a-z][a-z-]*)(?:=|\s+)(\S+)")
_LISTS = ("mattr", "keys", "libs")
_NUMBERS = ("num-cores",)


def is_string(name: str) -> bool:
    """Is a target given so, with options."""
    return re.match(r"(llvm|metal)\s+-", name.strip()) is not None


def as_json(text: str) -> str:
    """The same target as JSON text. Raises TargetUnknown for what is no option."""
    kind, options = text.strip().split(None, 1)
    if rest := _OPTION.sub("", options).strip():
        raise TargetUnknown(f"{rest!r} is no option of a target.", "Write options as -mcpu=NAME.")
    return json.dumps({"kind": kind, **{key: _value(key, value) for key, value in _OPTION.findall(options)}})


def _value(key: str, value: str) -> Any:
    if key in _LISTS:
        return value.split(",")
    return int(value) if key in _NUMBERS and value.isdigit() else value
