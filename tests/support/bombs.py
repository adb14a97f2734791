"""Questions that a build process does not survive."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Bomb:
    """Wants so many bytes, in pieces, as libraries do."""

    size_bytes: int

    def answer(self) -> int:
        """How much it got."""
        pieces = [bytearray(2**26) for _ in range(self.size_bytes // 2**26)]
        return len(pieces)


@dataclass(frozen=True)
class Crash:
    """Reads where nothing is, as TVM does with what it believes."""

    def answer(self) -> None:
        """Never comes."""
        os.kill(os.getpid(), 11)
