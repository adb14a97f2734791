"""What goes, as it is told to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Going:
    """Something that goes, and by which rule."""

    kind: Literal["artifact", "stray file", "import", "upload", "operator", "backup", "events"]
    name: str
    size_bytes: int
    why: str
