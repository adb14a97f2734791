"""Addresses and ports as command lines take them: types for ``argparse``."""

from __future__ import annotations

import argparse

MAX_PORT = 65535


def address(text: str) -> tuple[str, int]:
    """``HOST:PORT``; raises ArgumentTypeError."""
    host, _, number = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, port(number)


def port(text: str) -> int:
    """A port, 0 included; raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; they go from 0 to {MAX_PORT}")
    return int(text)
