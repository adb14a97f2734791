"""How a candidate fails, for people."""

from __future__ import annotations

KINDS = {
    "build": "gave no library",
    "build_timeout": "took too long to build",
    "run": "was refused by the device",
    "crash": "ended the device's session",
    "timeout": "hung",
    "wrong": "computed wrong outputs",
}


def kind_in_words(error_class: str) -> str:
    """What an error class means."""
    return KINDS.get(error_class, error_class)
