"""Modules made without search and without a device: from the records there are, else by the best guess.

What the command line compiles here, and what a job that only compiles does.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session

from tuner.artifact.machine import misfit
from tuner.artifact.symbols import DEVICE, load_check
from tuner.compiler.module import Compiled, base_manifest, can_be_built, read_manifest, write_manifest
from tuner.db import records
from tuner.db.models import Record, Workload
from tuner.importers.cache import Imported
from tuner.importers.sentences import Gate
from tuner.jobs.making import Module, check_loss, holds_foreign, is_foreign
from tuner.jobs.provenance import Kernels, keep_records, units_of
from tuner.kernels.context import NO_SCHEDULE, make_target
from tuner.kernels.left_out import in_words
from tuner.kernels.precision import FULL
from tuner.kernels.workload import module_from_json
from tuner.search.guess import Guess, guess

log = logging.getLogger(__name__)

_RELATIVES = 4  # other workloads, the most like one, whose best record is looked at


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


def relatives(session: Session, workloads: Iterable[Workload], family: str) -> dict[str, list[str]]:
    """Traces of the best records of kernels like each of the workloads, by the workload's id."""
    found = {}
    for workload in workloads:
        like_it = (one for one in records.related(session, workload, family, _RELATIVES) if one.name == workload.name)
        best = (records.best(session, one.id, family, 1) for one in like_it)
        found[workload.id] = [rows[0].trace for rows in best if rows]
    return found


def compile_known(
    imports_dir: Path,
    wanted: Wanted,
    kernels: Kernels,
    best: Mapping[str, Record],
    folder: Path,
    like_them: Mapping[str, Sequence[str]] | None = None,
    dump: Path | None = None,
) -> dict[str, Any]:
    """Compile into ``folder``; returns the manifest, which is written there too.

    A kernel without a record is as its search would begin, ``like_them`` what ``relatives`` found for it; it is plain
    where that can't be built.
    """
    known = {w.tir: (best[w.id].trace, best[w.id].run_secs) for _, w in kernels if w.id in best}
    target = make_target(wanted.target)
    unknown = [w for _, w in kernels if w.id not in best]
    near = like_them or {}
    guesses = {w.tir: one for w in unknown if (one := guess(module_from_json(w.tir), target, near.get(w.id, ())))}
    chosen = {w.id: best[w.id] for _, w in kernels if w.id in best}
    foreign = holds_foreign(wanted.imported, chosen)
    module = Module(imports_dir, wanted.imported, folder, foreign, wanted.precision, dump=dump)
    compiled, guesses = _compiled(module, wanted.target, known, guesses)
    manifest = base_manifest(wanted.imported, wanted.batch, wanted.seq_len, wanted.target, compiled)
    used = {w.id: best[w.id] for _, w in kernels if w.id in best and w.tir not in compiled.left_out}
    guessed = {w.id: guesses[w.tir] for _, w in kernels if w.tir in guesses and w.tir not in compiled.left_out}
    left_out = [
        in_words(best[w.id].candidate, w.name, compiled.left_out[w.tir])
        for _, w in kernels
        if w.tir in compiled.left_out and w.id in best
    ]
    manifest["precision"] = wanted.precision
    traces = {w.tir: guesses[w.tir].trace for _, w in kernels if w.tir in guesses}
    traces |= {tir: trace for tir, (trace, _) in known.items() if tir not in compiled.left_out}
    units = units_of(kernels, traces, wanted.target)
    manifest |= keep_records(folder, kernels, used, {}, left_out, guessed, units)
    write_manifest(folder, manifest)
    return manifest


def _compiled(
    module: Module,
    target: dict[str, Any],
    known: Mapping[str, tuple[str, list[float]]],
    guesses: Mapping[str, Guess],
) -> tuple[Compiled, dict[str, Guess]]:
    """The module, and the guesses, by TIR, that are in it: without those that can't be built."""

    def compiled(kept: Mapping[str, Guess]) -> Compiled:
        return module.compile(target, {**known, **{tir: (one.trace, []) for tir, one in kept.items()}})

    try:
        return compiled(guesses), dict(guesses)
    except NO_SCHEDULE:
        sound = {tir: one for tir, one in guesses.items() if can_be_built(tir, one.trace, target)}
        if len(sound) == len(guesses):
            raise
        log.warning("%d of %d guesses can't be built: plain instead", len(guesses) - len(sound), len(guesses))
        return compiled(sound), sound


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
