"""Models whose files are where they are: nothing is fetched or copied."""

from __future__ import annotations

from pathlib import Path

from tuner.importers.snapshot import Fetched
from tuner.importers.source import resolve_source


def in_place(name: str, allow_pickle: bool = False, head: str | None = None) -> Fetched:
    """A folder, an operator, or a preset that has no weights here."""
    source = resolve_source(name, allow_pickle, head)
    if source.source == "operator":
        return Fetched(source, Path(source.location).parent if source.has_files else None)
    return Fetched(source, source.folder)
