"""A model compiled here and now, without a service and without tuning: from the records there are, else by default."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from tuner import triples
from tuner.client.runtime import load
from tuner.compiler.artifact import pack
from tuner.compiler.deliver import verification
from tuner.compiler.module import base_manifest, compile_into, seal, write_manifest
from tuner.compiler.symbols import DEVICE, load_check
from tuner.config import Settings
from tuner.db import log, records
from tuner.db.engine import make_engine, read
from tuner.db.migrate import create_or_check
from tuner.db.models import Record, Workload
from tuner.importers import cache
from tuner.importers.cache import Imported
from tuner.importers.source import ModelSource, check_seq_len
from tuner.jobs.artifact_files import member_name
from tuner.search import shipped
from tuner.search.context import make_target
from tuner.search.workload import ExtractedWorkload, extract
from tuner.targets import Target

_LIBRARIES = {".so": "so", ".dylib": "dylib"}


@dataclass(frozen=True)
class Order:
    """What to compile: a model at a shape ``(batch, seq_len)`` for a target."""

    source: ModelSource
    target: Target
    batch: int
    seq_len: int


def compile_model(settings: Settings, order: Order, out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Write the artifact to ``out``, or its library alone when ``out`` is named like one; returns the manifest.

    Uses the data directory's import cache and records, and the records that come with the product. A library for this
    machine is run and compared with PyTorch; any other is checked as far as that goes without its machine.
    Raises SequenceTooLong, InvalidInput, VerificationFailed, LinkFailed, LoadCheckFailed and what importing raises.
    """
    check_seq_len(order.source.name, order.source.max_seq_len, order.seq_len)
    out.parent.mkdir(parents=True, exist_ok=True)
    create_or_check(settings)
    engine = make_engine(settings)
    try:
        say(f"importing {order.source.name}")
        imported = cache.import_source(order.source, order.batch, order.seq_len, settings.imports_dir)
        found, best = _workloads(settings, engine, order, imported)
        say(f"compiling {len(found)} kernels for {order.target.name}, {len(best)} of them from records")
        with tempfile.TemporaryDirectory(prefix=".tunesmith-", dir=out.parent) as folder:
            manifest = _compile(settings, Path(folder), order, imported, found, best, say)
            _deliver(Path(folder), manifest, out)
    finally:
        engine.dispose()
    return manifest


def _workloads(
    settings: Settings, engine: Engine, order: Order, imported: Imported
) -> tuple[list[ExtractedWorkload], dict[str, Record]]:
    """The model's kernels, and the fastest known record of each that has one."""
    found = extract(cache.load_module(settings.imports_dir, imported), make_target(order.target.tvm))
    shipped.bring_in(engine, settings, {one.id for one in found}, order.target.family)
    with read(engine) as session:
        fastest = {one.id: records.best(session, one.id, order.target.family, 1) for one in found}
    return found, {workload: rows[0] for workload, rows in fastest.items() if rows}


def _compile(
    settings: Settings,
    folder: Path,
    order: Order,
    imported: Imported,
    found: list[ExtractedWorkload],
    best: dict[str, Record],
    say: Callable[[str], None],
) -> dict[str, Any]:
    target = order.target.tvm
    winners = {one.tir: (best[one.id].trace, best[one.id].run_secs) for one in found if one.id in best}
    prepared = cache.load_prepared(settings.imports_dir, imported)
    compiled = compile_into(folder, prepared, target, winners)
    manifest = base_manifest(imported, order.batch, order.seq_len, target, compiled)
    total = sum(one.weight * one.flops for one in found)
    manifest |= {
        "records": len(best),
        "winners": sorted(record.candidate for record in best.values()),
        "coverage": sum(one.weight * one.flops for one in found if one.id in best) / total if total else 0.0,
        "kernels": len(found),
    }
    lines = [log.line_of(best[one.id], _row(one)) for one in found if one.id in best]
    (folder / "records.jsonl").write_text("".join(lines))
    if target["kind"] == "llvm" and triples.is_here(target):
        say("comparing its outputs with PyTorch's")
        write_manifest(folder, manifest)
        samples = cache.load_samples(settings.imports_dir, imported)
        manifest["verification"] = verification(load(folder).run, samples, imported, "compiled module")
        manifest |= load_check(DEVICE, target)
    return seal(folder, manifest)


def _row(one: ExtractedWorkload) -> Workload:
    return Workload(
        id=one.id, name=one.name, summary=one.summary, flops=one.flops, weight_bytes=one.weight_bytes, tir=one.tir
    )


def _deliver(folder: Path, manifest: dict[str, Any], out: Path) -> None:
    """The tar, or the member that ``out`` is named like."""
    form = _LIBRARIES.get(out.suffix)
    if form is None:
        pack(folder, out)
    else:
        shutil.copyfile(folder / member_name(manifest, form), out)


def summary(manifest: dict[str, Any]) -> str:
    """What a person should know of a compiled module, in a few lines."""
    binary, check = manifest["binary"], manifest.get("verification")
    lines = [
        f"{manifest['library']}: {binary['format']}" + (f", {binary['minimum_os']}" if "minimum_os" in binary else ""),
        f"coverage {manifest['coverage']:.0%}: {manifest['records']} of {manifest['kernels']} kernels from records",
        f"{manifest['tested']}" + (", every symbol checked" if manifest["load_check"] == "symbols" else ""),
    ]
    if check:
        lines.append(f"largest difference from PyTorch {check['max_abs_error']:.1e}")
    return "\n".join(lines)
