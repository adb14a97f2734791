"""What the reference says of manifests."""

from __future__ import annotations

import re
from pathlib import Path

_PAGE = Path(__file__).parents[2] / "docs" / "artifact.md"


def manifest_fields() -> set[str]:
    """The fields that it names."""
    _, _, fields = _PAGE.read_text().partition("## The manifest")
    cells = (row.split("|")[1] for row in re.findall(r"^\| `.*\|$", fields, re.MULTILINE))
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
