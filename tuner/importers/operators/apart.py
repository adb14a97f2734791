"""An operator of the user's own is parsed, built and run in a process of its own: limited, and ended if it must be."""

from __future__ import annotations

from pathlib import Path

from tuner.apart import Limits, answered
from tuner.errors import ModelInvalid
from tuner.importers.operators.files import label
from tuner.importers.snapshot import Fetched

LIMITS = Limits(seconds=300.0, memory_bytes=4 * 2**30)


def import_apart(key: str, fetched: Fetched, root: Path) -> None:
    """Put the import of an operator's file into the cache below ``root``, under ``key``.

    Raises what importing raises, and ModelInvalid when the process did not survive it or did not end.
    """

    def blamed(end: str) -> ModelInvalid:
        return ModelInvalid(
            f"The operator {label(fetched.source.name)} can't be imported: {end}.",
            "Use smaller extents, and write it as te.create_prim_func makes it.",
        )

    answered("tuner.importers.operators.apart_worker", (key, fetched, root), LIMITS, blamed)
