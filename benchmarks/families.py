"""``make bench ARGS=--families``: a model of each family and head beside ONNX Runtime and OpenVINO, all in float32.

Writes ``benchmarks/out/families.json``, a list with an entry a case, as each is done; what is there already, of the
same machine, versions and size, is not done again, neither tuned nor timed. All are tuned by one service before the
first is timed, so that timing finds the machine quiet; ``--no-time`` and ``--no-tune`` do each by itself. With
``--trials 0`` a case is compiled from the records there are: a head adds a kernel or two to those of its family.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import family_models, report, service_jobs
from benchmarks.kept import is_done, merged, read, the_one
from benchmarks.latency import ALL, OURS, Case, run_all, some, timed
from rpc.facts import cpu_model
from tuner.bench.spec import Kind
from tuner.cli.common import console, notes, settings_with
from tuner.cli.local_service import local_service
from tuner.client.http import Client
from tuner.config import Settings
from tuner.errors import InvalidInput, StageFailed
from tuner.importers.families import FAMILIES
from tuner.importers.snapshot import borrowed
from tuner.importers.source import ModelSource, resolve_source
from tuner.schemas import BudgetIn

SHAPES = "1x32,1x128,8x32,8x128"
_TIMED, _TUNED = "families", "families_tuned"  # of the files; the second says where artifacts are
_PEERS: dict[str, Kind] = {"onnxruntime": "onnxruntime", "openvino_f32": "openvino"}
_KEY = ("family", "head", "batch", "seq")


@dataclass(frozen=True)
class FamilyCase:
    """One family and head at one shape."""

    family: str
    head: str
    batch: int
    seq_len: int

    def __str__(self) -> str:
        return f"{self.family} {self.head} {self.batch} x {self.seq_len}"

    @property
    def fields(self) -> dict[str, Any]:
        """Of its entry."""
        return {"family": self.family, "head": self.head, "batch": self.batch, "seq": self.seq_len}


def main(
    families: Annotated[str, typer.Option(help="Some of the families, with commas between.")] = ALL,
    heads: Annotated[str, typer.Option(help="Some of the heads, with commas between.")] = ALL,
    shapes: Annotated[str, typer.Option(help="Batch and sequence length of each.")] = SHAPES,
    trials: Annotated[int, typer.Option(help="Budget of a case in candidates, those of records too; or 0.")] = 200,
    max_sec: Annotated[float, typer.Option(min=1, help="Seconds of timing a case.")] = 10.0,
    tune: Annotated[bool, typer.Option("--tune/--no-tune", help="Tune what is not tuned yet, or leave it out.")] = True,
    time: Annotated[bool, typer.Option("--time/--no-time", help="Time what is tuned, or leave that to later.")] = True,
    data_dir: Annotated[Path, typer.Option(help="The service's data; records and artifacts are kept there.")] = (
        service_jobs.DATA_DIR
    ),
) -> None:
    """Tune a model of each family and head, then time all of them beside their peers; writes
    benchmarks/out/families.json."""
    settings = settings_with(data_dir=data_dir)
    cases = chosen(families, heads, shapes)
    facts = report.circumstances(cpu_model())
    about = {"size": family_models.size(), **{name: facts[name] for name in ("machine", "versions")}}
    known, before = read(_TUNED), read(_TIMED)
    waiting = [case for case in cases if not is_done(case.fields | about, before)]
    notes.print(f"{len(waiting)} of {len(cases)} cases; the others are done", highlight=False)
    failed: list[FamilyCase] = []
    untuned = [case for case in waiting if not is_done(case.fields | about, known)]
    if tune and untuned:
        found, failed = _all_tuned(
            settings, untuned, trials, about, lambda done: report.save(_TUNED, merged(known, done, _KEY))
        )
        known = merged(known, found, _KEY)

    def run(case: FamilyCase) -> dict[str, Any]:
        tuned = the_one(case.fields | about, known)
        assert tuned is not None
        found = case.fields | _timed(settings, case, tuned, max_sec) | about | {"date": facts["date"]}
        notes.print(f"{case}: {found[f'{OURS}_ms']:.3g} ms, the best peer {best_peer(found):.3g}", highlight=False)
        return found

    ready = [case for case in waiting if time and is_done(case.fields | about, known)]
    found, broken = run_all(ready, run, lambda done: report.save(_TIMED, merged(before, done, _KEY)))
    for entry in found:
        if best_peer(entry) < entry[f"{OURS}_ms"]:
            console.print(f"slower than a peer: {entry['family']} {entry['head']} {entry['batch']} x {entry['seq']}")
    if failed := [*failed, *broken]:
        names = ", ".join(map(str, failed))
        raise StageFailed(f"{len(failed)} of {len(waiting)} cases failed: {names}.", "Why is said above, case by case.")


def chosen(families: str, heads: str, shapes: str) -> list[FamilyCase]:
    """The cases of these words: one head of every family before the next head, so that each family is seen soon.

    Raises InvalidInput naming what there is none of.
    """
    wanted = itertools.product(
        some(heads, family_models.HEADS, "head"), _shapes(shapes), some(families, list(FAMILIES), "family")
    )
    found = [FamilyCase(family, head, batch, seq_len) for head, (batch, seq_len), family in wanted]
    return [case for case in found if (case.family, case.head) not in family_models.NOT_THERE]


def best_peer(entry: dict[str, Any]) -> float:
    """Milliseconds of the fastest peer."""
    return min(float(entry[f"{name}_ms"]) for name in _PEERS)


def _all_tuned(
    settings: Settings, cases: Sequence[FamilyCase], trials: int, about: dict[str, Any], save: Callable[[Any], Any]
) -> tuple[list[dict[str, Any]], list[FamilyCase]]:
    """An entry a case, each with its artifact, and the cases that failed."""
    if not trials:
        return run_all(cases, lambda case: case.fields | _compiled(settings, case) | about, save)
    with local_service(settings) as client:
        return run_all(cases, lambda case: case.fields | _tuned(settings, client, case, trials) | about, save)


def _compiled(settings: Settings, case: FamilyCase) -> dict[str, Any]:
    out = _folder(case).parent / f"{case.family}-{case.head}-{case.batch}x{case.seq_len}.tar"
    service_jobs.compiled(settings, _source(case), case.batch, case.seq_len, out)
    return {"artifact": str(out.absolute()), "predicted_ms": None, "trials": 0}


def _tuned(settings: Settings, client: Client, case: FamilyCase, trials: int) -> dict[str, Any]:
    shape: dict[str, Any] = {"batch": case.batch, "seq_len": case.seq_len, "head": case.head}
    job = service_jobs.finish(client, service_jobs.submit(client, str(_folder(case)), BudgetIn(trials=trials), **shape))
    tar = service_jobs.artifact_of(settings, job)
    return {"artifact": str(tar.absolute()), "predicted_ms": job.predicted_ms, "trials": job.trials}


def _timed(settings: Settings, case: FamilyCase, tuned: dict[str, Any], max_sec: float) -> dict[str, Any]:
    with borrowed(_source(case), report.OUT / "sources") as fetched:
        plain = Case(str(case), case.batch, case.seq_len)
        result = timed(settings, plain, {OURS: Path(tuned["artifact"])}, fetched, _PEERS, 20, 5, max_sec)
    return {
        **{f"{timing.variant}_ms": round(timing.median_ms, 3) for timing in result.timings},
        "threads": result.threads,
        **{name: tuned[name] for name in ("predicted_ms", "trials")},
        "max_abs_errors": result.max_abs_errors,
    }


def _source(case: FamilyCase) -> ModelSource:
    return resolve_source(str(_folder(case)), head=case.head)


def _folder(case: FamilyCase) -> Path:
    folder = report.OUT / "families" / f"{case.family}-{case.head}"
    return family_models.write_family(case.family, case.head, folder)


def _shapes(text: str) -> list[tuple[int, int]]:
    found = []
    for one in text.split(","):
        batch, _, seq_len = one.partition("x")
        if not batch.isdecimal() or not seq_len.isdecimal():
            raise InvalidInput(f"{one!r} is no shape.", f"Write batch and length of each: {SHAPES}.")
        found.append((int(batch), int(seq_len)))
    return found
