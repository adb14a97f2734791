"""A model compiled here and now, without a service and without tuning: from the records there are, else by default."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from rpc.drafts import draft
from tuner.artifact.format import member_name, pack
from tuner.compiler.dump import Dump, dumped
from tuner.compiler.module import seal
from tuner.config import Settings
from tuner.db.engine import make_engine, read
from tuner.db.migrate import create_or_check
from tuner.db.models import Record
from tuner.errors import InvalidInput
from tuner.importers import cache
from tuner.importers.copies import Room
from tuner.importers.sentences import Gate, check_sentences, know_sentences
from tuner.importers.snapshot import borrowed
from tuner.importers.source import ModelSource
from tuner.jobs import from_records
from tuner.jobs.provenance import Kernels
from tuner.jobs.shape import JobShape, fixed, open_shape, settled_shape
from tuner.jobs.submit import check_precision
from tuner.kernels.context import make_target
from tuner.kernels.dots import dots_of
from tuner.kernels.precision import FULL, lowered
from tuner.kernels.workload import ExtractedWorkload, extract
from tuner.legacy import store
from tuner.measuring.builder import BuildPool
from tuner.schemas import ImportOut
from tuner.search import shipped
from tuner.search.vetting import Vetting
from tuner.targets.presets import Target

_LIBRARIES = {".so": "so", ".dylib": "dylib"}


@dataclass(frozen=True)
class Order:
    """What to compile: a model for a target, at a shape ``(batch, seq_len)`` of which either may be left open; with
    neither for texts of any lengths, where it can be; its products at a ``precision``."""

    source: ModelSource
    target: Target
    batch: int | None = None
    seq_len: int | None = None
    precision: str = FULL

    def shape_of(self, source: ModelSource) -> JobShape:
        """What to compile ``source`` for, of which more is known by now. Raises SequenceTooLong."""
        if self.batch is not None or self.seq_len is not None:
            return fixed(source, self.batch, self.seq_len)
        return open_shape(source, self.target.name, self.target.tvm["kind"])


def compile_model(
    settings: Settings, order: Order, out: Path, say: Callable[[str], None], dump: Path | None = None
) -> dict[str, Any]:
    """Write the artifact to ``out``, or its library alone when ``out`` is named like one; returns the manifest.

    Uses the data directory's import cache and records, and the records that come with the product. A library for this
    machine is run and compared with PyTorch, at a lower precision on the sample sentences; any other is checked as far
    as that goes without its machine. All that it comes by goes into the folder ``dump``: the model is imported anew.
    Raises SequenceTooLong, InvalidInput, PrecisionUnavailable, PrecisionLossTooLarge, VerificationFailed, LinkFailed,
    LoadCheckFailed and what importing raises.
    """
    target = order.target
    order.shape_of(order.source)
    check_precision(order.precision, order.source, target)
    _check_out(out, target)
    if dump is not None:
        dump = dump.absolute()  # another process may write there
        Dump(dump).begin(f"# {order.source.name} for {target.name}")
    out.parent.mkdir(parents=True, exist_ok=True)
    create_or_check(settings)
    engine = make_engine(settings)
    try:
        with draft(settings.artifacts_dir) as scratch:
            imports, folder = settings.imports_dir if dump is None else scratch / "imports", scratch / "module"
            with dumped(dump):
                imported, taken = import_here(settings, order, say, imports)
            tvm_target = make_target(target.tvm)
            found = extract(lowered(cache.load_module(imports, imported), order.precision, tvm_target), tvm_target)
            rows = [(one.weight, one.as_row()) for one in found]
            best, like_them = _known(engine, settings, found, rows, target)
            say(f"compiling {len(found)} kernels for {target.name}, {len(best)} of them from records")
            wanted = from_records.Wanted(imported, taken.batch, taken.seq_len, target.tvm, order.precision)
            made = from_records.compile_known(imports, wanted, rows, best, folder, like_them, dump)
            if from_records.runs_here(made):
                say(f"comparing its outputs with those of {imported.against}")
            manifest = seal(folder, from_records.verify_here(imports, imported, folder, "compiled module", Gate()))
            _deliver(folder, manifest, out)
    finally:
        engine.dispose()
    return manifest


def bring_in_records(settings: Settings, content: bytes) -> ImportOut:
    """A log's records into the data directory's database. Raises InvalidInput and LimitExceeded."""
    create_or_check(settings)
    engine = make_engine(settings)
    try:
        return store.import_file(engine, io.BytesIO(content), settings.max_unpacked_bytes, lambda: True)
    finally:
        engine.dispose()


def import_here(
    settings: Settings, order: Order, say: Callable[[str], None], imports_dir: Path | None = None
) -> tuple[cache.Imported, JobShape]:
    """The order's model in a cache of imports, the data directory's if no other is given, and the shape it is for; at a
    lower precision what it makes of the sample sentences is known then.

    Raises SequenceTooLong and what importing raises.
    """
    source, imports_dir = order.source, imports_dir or settings.imports_dir
    with borrowed(source, settings.sources_dir, Room(settings.max_model_bytes)) as fetched:
        taken = order.shape_of(fetched.source)
        if taken.is_open:
            taken = settled_shape(fetched.source, order.target.name, order.target.tvm["kind"])
        if taken.note:
            say(taken.note)
        say(f"importing {source.name} for {taken}")
        shape = cache.Shape(taken.batch, taken.seq_len, bool(taken.texts), order.target.tvm["kind"])
        imported = cache.import_source(fetched, shape, imports_dir, settings.import_memory_bytes)
        if order.precision != FULL:
            check_sentences(imported)
            if from_records.runs_here({"target": order.target.tvm}):
                dots = dots_of(make_target(order.target.tvm))
                know_sentences(imports_dir, fetched, imported, shape, Gate(), dots, order.precision)
        return imported, taken


def _known(
    engine: Engine, settings: Settings, found: list[ExtractedWorkload], rows: Kernels, target: Target
) -> tuple[dict[str, Record], dict[str, list[str]]]:
    """The fastest records, by workload, of those that can be replayed; of workloads without any, what is known of
    others like them."""
    shipped.bring_in(engine, settings, {one.id for one in found}, target.family)
    with read(engine) as session:
        fastest = from_records.fastest(session, [one.id for one in found], target.family)
        unknown = [workload for _, workload in rows if workload.id not in fastest]
        like_them = from_records.relatives(session, unknown, target.family)
    builders = BuildPool(1, 0.0)
    try:
        vetting, tirs = Vetting(engine, builders), {one.id: one.tir for one in found}
        best = {name: row for name, row in fastest.items() if vetting.usable([row], tirs[name], target.tvm)}
    finally:
        builders.close()
    return best, like_them


def _check_out(out: Path, target: Target) -> None:
    """Refuses now what could not be written after all the work."""
    if out.is_dir():
        raise InvalidInput(f"{out} is a folder.", "Give --out the name of a file.")
    if out.suffix == ".dylib" and target.suffix != ".dylib":
        raise InvalidInput(
            f"{out} is named like a library for macOS, and those for {target.name} end in {target.suffix}.",
            f"Write {out.with_suffix(target.suffix)}, or choose a --target that is a Mac.",
        )


def _deliver(folder: Path, manifest: dict[str, Any], out: Path) -> None:
    """The tar, or the member that ``out`` is named like."""
    form = _LIBRARIES.get(out.suffix)
    if form is None:
        pack(folder, out)
    else:
        shutil.copyfile(folder / member_name(manifest, form), out)
