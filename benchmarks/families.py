"""``make bench ARGS=--families``: a model of each family and head beside ONNX Runtime and OpenVINO, all in float32.

Writes ``benchmarks/out/families.json``, a list with an entry a case, as each is done; what is there already, of the
same machine, versions and size, is not done again, neither tuned nor timed. All are tuned by one service before the
first is timed, so that timing finds the machine quiet; ``--no-time`` and ``--no-tune`` do each by itself.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import family_models, report, service_jobs
from benchmarks.latency import OURS, Case, run_all, timed
from rpc.facts import cpu_model
from tuner.bench.spec import Kind
from tuner.cli.common import console, notes, run_app, settings_with
from tuner.cli.local_service import local_service
from tuner.client.http import Client
from tuner.config import Settings
from tuner.errors import InvalidInput, StageFailed
from tuner.importers.families import FAMILIES
from tuner.importers.snapshot import borrowed
from tuner.importers.source import resolve_source
from tuner.schemas import BudgetIn

ALL = "all"
SHAPES = "1x32,1x128,8x32,8x128"
_TIMED, _TUNED = "families", "families_tuned"  # of the files; the second says where artifacts are
_PEERS: dict[str, Kind] = {"onnxruntime": "onnxruntime", "openvino_f32": "openvino"}
_SAME = ("family", "head", "batch", "seq", "machine", "versions", "size")


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
    trials: Annotated[int, typer.Option(help="Budget of a case in candidates; those of known records count.")] = 200,
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
    known, before = _read(_TUNED), _read(_TIMED)
    waiting = [case for case in cases if not is_done(case.fields | about, before)]
    notes.print(f"{len(waiting)} of {len(cases)} cases; the others are done", highlight=False)
    failed: list[FamilyCase] = []
    untuned = [case for case in waiting if not is_done(case.fields | about, known)]
    if tune and untuned:
        with local_service(settings) as client:
            found, failed = run_all(
                untuned,
                lambda case: case.fields | _tuned(settings, client, case, trials) | about,
                lambda done: report.save(_TUNED, merged(known, done)),
            )
        known = merged(known, found)

    def run(case: FamilyCase) -> dict[str, Any]:
        (tuned,) = (entry for entry in known if is_done(case.fields | about, [entry]))
        found = case.fields | _timed(settings, case, tuned, max_sec) | about | {"date": facts["date"]}
        notes.print(f"{case}: {found[f'{OURS}_ms']:.3g} ms, the best peer {best_peer(found):.3g}", highlight=False)
        return found

    ready = [case for case in waiting if time and is_done(case.fields | about, known)]
    found, broken = run_all(ready, run, lambda done: report.save(_TIMED, merged(before, done)))
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
        _some(heads, family_models.HEADS, "head"), _shapes(shapes), _some(families, list(FAMILIES), "family")
    )
    found = [FamilyCase(family, head, batch, seq_len) for head, (batch, seq_len), family in wanted]
    return [case for case in found if (case.family, case.head) not in family_models.NOT_THERE]


def is_done(wanted: dict[str, Any], entries: Iterable[dict[str, Any]]) -> bool:
    """Is there an entry of this case, from the same machine, versions and size?"""
    return any(all(entry.get(name) == wanted[name] for name in _SAME) for entry in entries)


def merged(before: Sequence[dict[str, Any]], done: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All entries, the newest of each case."""
    new = [_key(entry) for entry in done]
    return [*(entry for entry in before if _key(entry) not in new), *done]


def _key(entry: dict[str, Any]) -> list[Any]:
    return [entry.get(name) for name in ("family", "head", "batch", "seq")]


def best_peer(entry: dict[str, Any]) -> float:
    """Milliseconds of the fastest peer."""
    return min(float(entry[f"{name}_ms"]) for name in _PEERS)


def _tuned(settings: Settings, client: Client, case: FamilyCase, trials: int) -> dict[str, Any]:
    shape: dict[str, Any] = {"batch": case.batch, "seq_len": case.seq_len, "head": case.head}
    job = service_jobs.finish(client, service_jobs.submit(client, str(_folder(case)), BudgetIn(trials=trials), **shape))
    tar = service_jobs.artifact_of(settings, job)
    return {"artifact": str(tar.absolute()), "predicted_ms": job.predicted_ms, "trials": job.trials}


def _timed(settings: Settings, case: FamilyCase, tuned: dict[str, Any], max_sec: float) -> dict[str, Any]:
    with borrowed(resolve_source(str(_folder(case)), head=case.head), report.OUT / "sources") as fetched:
        plain = Case(str(case), case.batch, case.seq_len)
        result = timed(settings, plain, {OURS: Path(tuned["artifact"])}, fetched, _PEERS, 20, 5, max_sec)
    return {
        **{f"{timing.variant}_ms": round(timing.median_ms, 3) for timing in result.timings},
        "threads": result.threads,
        **{name: tuned[name] for name in ("predicted_ms", "trials")},
        "max_abs_errors": result.max_abs_errors,
    }


def _folder(case: FamilyCase) -> Path:
    folder = report.OUT / "families" / f"{case.family}-{case.head}"
    return family_models.write_family(case.family, case.head, folder)


def _read(name: str) -> list[dict[str, Any]]:
    """Entries of a file that were kept; those of artifacts that are gone are not."""
    file = report.OUT / f"{name}.json"
    entries: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
    return [entry for entry in entries if "artifact" not in entry or Path(entry["artifact"]).is_file()]


def _some(text: str, known: Sequence[str], what: str) -> list[str]:
    wanted = list(known) if text == ALL else text.split(",")
    if strange := [one for one in wanted if one not in known]:
        raise InvalidInput(f"There is no {what} {strange[0]!r}.", f"Use some of: {', '.join(known)}.")
    return wanted


def _shapes(text: str) -> list[tuple[int, int]]:
    found = []
    for one in text.split(","):
        batch, _, seq_len = one.partition("x")
        if not batch.isdecimal() or not seq_len.isdecimal():
            raise InvalidInput(f"{one!r} is no shape.", f"Write batch and length of each: {SHAPES}.")
        found.append((int(batch), int(seq_len)))
    return found


def run(arguments: Sequence[str]) -> None:
    """The command, by the arguments of ``benchmarks.latency``: ``--families`` may stand alone, for all of them."""
    given = list(arguments)
    place = given.index("--families") + 1
    if place == len(given) or given[place].startswith("-"):
        given.insert(place, ALL)
    app = typer.Typer(add_completion=False)
    app.command()(main)
    run_app(lambda: app(given))


if __name__ == "__main__":
    run(["--families", *sys.argv[1:]] if "--families" not in sys.argv else sys.argv[1:])
