"""Modules made without search and without a device: from the records there are, else by default schedules.

What the command line compiles here, and what a job that only compiles does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session

from tuner.artifact.machine import misfit
from tuner.artifact.symbols import DEVICE, load_check
from tuner.compiler.module import base_manifest, read_manifest, write_manifest
from tuner.db import records
from tuner.db.models import Record
from tuner.importers.cache import Imported
from tuner.importers.sentences import Gate
from tuner.jobs.making import Module, check_loss, holds_foreign, is_foreign
from tuner.jobs.provenance import Kernels, keep_records
from tuner.kernels.context import make_target
from tuner.kernels.left_out import in_words
from tuner.kernels.precision import FULL
from tuner.kernels.workload import module_from_json
from tuner.kernels.written import first_guess


@dataclass(frozen=True)
class Wanted:
    """What to compile: an import at its shape ``(batch, seq_len)`` for a TVM target."""

    imported: Imported
    batch: int
    seq_len: int
    target: dict[str, Any]
    precision: str = FULL


def fastest(session: Session, workload_ids: Collection[str], family: str) -> dict[str, Record]:
    """The fastest record of each workload that has one on this target family."""
    found = {workload: records.best(session, workload, family, 1) for workload in workload_ids}
    return {workload: rows[0] for workload, rows in found.items() if rows}


def compile_known(
    imports_dir: Path, wanted: Wanted, kernels: Kernels, best: Mapping[str, Record], folder: Path
) -> dict[str, Any]:
    """Compile into ``folder``; returns the manifest, which is written there too. What can be written out, and has no
    record, is by its first choice: the plain schedule of a kernel for any number of rows takes three times as long."""
    winners = {w.tir: (best[w.id].trace, best[w.id].run_secs) for _, w in kernels if w.id in best}
    if wanted.imported.texts or wanted.precision != FULL:
        target = make_target(wanted.target)
        guesses = {w.tir: first_guess(module_from_json(w.tir), target) for _, w in kernels if w.id not in best}
        winners |= {tir: (trace, []) for tir, trace in guesses.items() if trace}
    chosen = {w.id: best[w.id] for _, w in kernels if w.id in best}
    module = Module(imports_dir, wanted.imported, folder, holds_foreign(wanted.imported, chosen), wanted.precision)
    compiled = module.compile(wanted.target, winners)
    manifest = base_manifest(wanted.imported, wanted.batch, wanted.seq_len, wanted.target, compiled)
    used = {w.id: best[w.id] for _, w in kernels if w.id in best and w.tir not in compiled.left_out}
    left_out = [
        in_words(best[w.id].candidate, w.name, compiled.left_out[w.tir])
        for _, w in kernels
        if w.tir in compiled.left_out
    ]
    manifest["precision"] = wanted.precision
    manifest |= keep_records(folder, kernels, used, {}, left_out)
    write_manifest(folder, manifest)
    return manifest


def runs_here(manifest: dict[str, Any]) -> bool:
    """Is a compiled module one for this machine's CPU?"""
    return manifest["target"]["kind"] == "llvm" and not misfit(manifest)


def verify_here(imports_dir: Path, imported: Imported, folder: Path, what: str, gate: Gate) -> dict[str, Any]:
    """Compare the module's outputs with the samples' where it runs, at a lower precision by the gate; elsewhere the
    checks of its symbols must do.

    Returns the manifest. Raises VerificationFailed or PrecisionLossTooLarge naming ``what``.
    """
    manifest = read_manifest(folder)
    if runs_here(manifest):
        precision = manifest.get("precision", FULL)
        module = Module(imports_dir, imported, folder, is_foreign(imported, manifest), precision, gate)
        manifest["verification"] = module.verify(what)
        check_loss(manifest["verification"], precision, what)
        manifest |= load_check(DEVICE, manifest["target"])
        write_manifest(folder, manifest)
    return manifest
