"""Tiny models, their imports and their artifacts: what several files want alike is made once in a test run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.made_once import made_once
from tests.support.model_files import in_place
from tests.support.tiny_imports import compile_plainly
from tests.support.tiny_models import write_model
from tuner.importers import cache
from tuner.importers.cache import Imported, Shape
from tuner.importers.snapshot import Fetched


@dataclass(frozen=True)
class TinyImport:
    """A tiny model's folder, and its import below ``root``. Nobody writes to either."""

    model: Path
    root: Path
    fetched: Fetched
    imported: Imported
    shape: Shape
    name: str

    def artifact(self) -> Path:
        """The folder of what is compiled of it, by plain schedules."""

        def make(place: Path) -> None:
            compile_plainly(self.root, self.imported, self.shape.batch, self.shape.seq_len, place)

        return made_once(f"artifact-{self.name}", make)


def tiny_model(kind: str = "bert", head: str = "encoder") -> Path:
    """A tiny model's folder. Nobody writes to it."""

    def make(place: Path) -> None:
        write_model(place, kind, head)

    return made_once(f"model-{kind}-{head}", make)


def tiny_import(shape: Shape, kind: str = "bert", head: str = "encoder") -> TinyImport:
    """Its import for a shape on this machine's CPU."""
    extents = "texts" if shape.texts else f"{shape.batch}x{shape.seq_len}"
    name = f"{kind}-{head}-{extents}"
    fetched = in_place(str(tiny_model(kind, head)), False, head)

    def make(place: Path) -> None:
        cache.import_source(fetched, shape, place)

    root = made_once(f"import-{name}", make)
    imported = cache.import_source(fetched, shape, root)
    assert fetched.folder is not None
    return TinyImport(fetched.folder, root, fetched, imported, shape, name)
