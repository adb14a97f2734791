"""Tiny models imported as a job imports them, and compiled without tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rpc.facts import device_facts, physical_cores
from tests.support.model_files import in_place
from tuner.artifact.loader import Runner, load
from tuner.compiler.module import base_manifest, compile_into, write_manifest
from tuner.importers import cache
from tuner.importers.cache import Imported
from tuner.targets import presets


def local_target() -> dict[str, Any]:
    """The TVM target of this machine, as jobs have it."""
    return presets.resolve("local", "local", device_facts() | {"threads": physical_cores()}).tvm


def import_tiny(folder: Path, head: str, batch: int, seq_len: int, root: Path, kind: str = "llvm") -> Imported:
    """Import the model in ``folder`` for a kind of target; the cache is below ``root``."""
    return cache.import_source(in_place(str(folder), False, head), cache.Shape(batch, seq_len, kind=kind), root)


def compile_plainly(root: Path, imported: Imported, batch: int, seq_len: int, folder: Path) -> Runner:
    """Compile an import with plain schedules into ``folder`` and load it."""
    target = local_target()
    compiled = compile_into(folder, cache.load_prepared(root, imported), target, {})
    cache.copy_tokenizer(root, imported, folder)
    write_manifest(folder, base_manifest(imported, batch, seq_len, target, compiled))
    return load(folder)
