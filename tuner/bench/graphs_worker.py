"""Writes the graph of another runtime in a process of its own: converters may crash, and hold much memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def prepare() -> None:
    """What is needed depends on the question."""


def answer(question: Mapping[str, Any]) -> str:
    """The path of the file, as ``tuner.bench.graphs.written``."""
    from tuner.bench.graphs import written
    from tuner.bench.turns import batches_in
    from tuner.importers.huggingface import LoadedModel, load_torch
    from tuner.importers.snapshot import Fetched
    from tuner.importers.source import ModelSource

    def load() -> LoadedModel:
        folder, source = question["folder"], ModelSource(**question["source"])
        return load_torch(Fetched(source, Path(folder) if folder else None), question["seed"])

    batches = batches_in(question["inputs"])
    inputs = None if question["any_length"] else batches[0]
    return str(written(question["kind"], Path(question["into"]), load, inputs))
