"""``make bench-texts``: an artifact for texts beside other runtimes, on texts of mixed lengths, all in float32.

The service tunes first (from the records that are known) and is stopped before anything is timed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from benchmarks import llama, report, service_jobs
from benchmarks.text_contest import MODES, Contestant, Text, batches_of, check, make_texts, race
from benchmarks.text_contestant import ABOUT, GGUF
from rpc.facts import cpu_model, physical_cores
from rpc.lifeline import python_module
from tuner.cli import words
from tuner.cli.common import console, notes, run_app, settings_with
from tuner.cli.local_service import local_service
from tuner.config import Settings
from tuner.errors import InvalidInput, StageFailed
from tuner.schemas import BudgetIn

OURS = "ours"
PEERS = {
    "torch_sdpa": "SDPA",
    "onnxruntime": "ORT",
    "onnxruntime_optimised": "ORT optimised",
    "openvino": "OpenVINO",
    llama.NAME: "llama.cpp",
}
MODELS = ("bert-base-uncased", "minilm-l6")
_TEXTS, _SEED = 256, 11
_MIXED_CALLS = (50, 2000)  # calls of all kinds after which memory is looked at


def main(
    model: Annotated[list[str] | None, typer.Option(help="Preset, hub id or folder; may be repeated.")] = None,
    trials: Annotated[int | None, typer.Option(help="Budget of a model in candidates; else the express one.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget of a model in minutes of tuning.")] = None,
    passes: Annotated[int, typer.Option(help="How often each contestant gets all texts, in each mode.")] = 2,
    calls: Annotated[int, typer.Option(help="Our calls of mixed batches before memory is looked at a last time.")] = (
        _MIXED_CALLS[1]
    ),
    mode: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(MODES)}; may be repeated.")] = None,
    artifact: Annotated[Path | None, typer.Option(help="Time this, made for texts before, of the one --model.")] = None,
    data_dir: Annotated[Path, typer.Option(help="The service's data; records and artifacts are kept there.")] = (
        service_jobs.DATA_DIR
    ),
) -> None:
    """Tune for texts, then time the result beside its peers; writes benchmarks/out/texts.json, where what was not
    timed now stays as it was."""
    modes = mode or list(MODES)
    if unknown := [name for name in modes if name not in MODES]:
        raise InvalidInput(f"There is no mode {unknown[0]}.", f"Modes are {', '.join(MODES)}.")
    if artifact is not None and len(model or ()) != 1:
        raise InvalidInput("An artifact is of one model.", "Name it: --model M --artifact FILE.")
    settings = settings_with(data_dir=data_dir)
    facts = report.circumstances(cpu_model())
    found: list[dict[str, Any]] = []
    for name in model or MODELS:
        folder = report.OUT / "texts" / name.replace("/", "-")
        about = _write_files(name, folder)
        absent = left_out(about, llama.is_here())
        texts = make_texts(_TEXTS, about["vocabulary"], _SEED)
        made = artifact or _tuned(settings, name, texts, service_jobs.budget(trials, minutes))
        threads = settings.device_threads or physical_cores()
        for one in _timed(name, made, folder, texts, modes, passes, calls, threads, absent):
            found.append(one | facts | {"left_out": absent})
            path = report.save("texts", together(_known(), found))
    console.print(table(found))
    for line in absences(found):
        console.print(line, style="dim", soft_wrap=True)
    console.print(report.footer(facts), style="dim", soft_wrap=True)
    console.print(f"written to {report.shown(path)}", style="dim", soft_wrap=True)


def _tuned(settings: Settings, model: str, texts: list[Text], wish: BudgetIn) -> Path:
    """The artifact of a job for these texts."""
    with local_service(settings) as client:
        job = service_jobs.submit(client, model, wish=wish, text_lengths=[len(text) for text in texts])
        return service_jobs.artifact_of(settings, service_jobs.finish(client, job))


def _timed(
    model: str,
    artifact: Path,
    folder: Path,
    texts: list[Text],
    modes: list[str],
    passes: int,
    calls: int,
    threads: int,
    absent: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """An entry of each mode. Peers make the first of the mixed calls only: their peaks are not too high."""
    contestants: dict[str, Contestant] = {}
    try:
        for name in (OURS, *(peer for peer in PEERS if peer not in absent)):
            contestants[name] = Contestant(name, str(artifact) if name == OURS else model, folder, threads)
        about = {
            "artifact": artifact.stem,
            "load_sec": {name: one.load_sec for name, one in contestants.items()},
            "first_calls": {name: one.first_call(texts[0]) for name, one in contestants.items()},
            **check(contestants, texts),
            "memory": {
                name: _after_calls(one, texts, calls if name == OURS else min(calls, _MIXED_CALLS[0]))
                for name, one in contestants.items()
            },
        }
        for mode in modes:
            with notes.status(f"timing {model} beside its peers, {mode}"):
                timed = race(contestants, batches_of(texts, mode), passes)
            peaks = {name: one.memory()["peak"] for name, one in contestants.items()}
            yield entry(model, mode, timed, texts, peaks) | about
    finally:
        for one in contestants.values():
            one.close()


def together(known: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of earlier runs with those of this one, which take the place of their like."""
    by_name = {(one["model"], one["mode"]): one for one in [*known, *found]}
    return list(by_name.values())


def _known() -> list[dict[str, Any]]:
    path = report.OUT / "texts.json"
    return list(json.loads(path.read_text())) if path.is_file() else []


def entry(
    model: str,
    mode: str,
    seconds: Mapping[str, list[list[float]]],
    texts: list[Text],
    peak_bytes: Mapping[str, int],
) -> dict[str, Any]:
    """One line of the report, of the seconds of each batch in each pass by contestant."""
    rates = {name: round(len(texts) / median(map(sum, passes)), 2) for name, passes in seconds.items()}
    tokens = sum(map(len, texts)) / len(texts)
    percentiles = {
        name: {f"p{n}": round(float(np.percentile(np.concatenate(passes), n)) * 1e3, 3) for n in (50, 95, 99)}
        for name, passes in seconds.items()
    }
    return {
        "model": model,
        "mode": mode,
        "ours_texts_per_sec": rates[OURS],
        "ours_tokens_per_sec": round(rates[OURS] * tokens, 1),
        "peers": {name: rate for name, rate in rates.items() if name != OURS},
        "ours_peak_bytes": peak_bytes[OURS],
        "peers_peak_bytes": {name: peak for name, peak in peak_bytes.items() if name != OURS},
        "latency_ms": percentiles,  # of a call
        "texts": len(texts),
        "tokens": sum(map(len, texts)),
    }


def table(entries: list[dict[str, Any]]) -> Table:
    """A line of texts a second for each model and mode; the last column is ours by the best peer."""
    found = Table(title="texts per second, higher is better", title_style="dim", header_style="bold")
    for name in ("model", "mode"):
        found.add_column(name, overflow="fold")
    for name in ("ours", *PEERS.values(), "best peer"):
        found.add_column(name, justify="right", no_wrap=True)
    for one in entries:
        rates = [one["ours_texts_per_sec"], *(one["peers"].get(name) for name in PEERS)]
        shown = (words.DASH if rate is None else f"{rate:.3g}" for rate in rates)
        found.add_row(one["model"], one["mode"], *shown, f"{margin(one):.2f}x")
    return found


def margin(one: dict[str, Any]) -> float:
    """How many times as many texts a second as the best peer."""
    return float(one["ours_texts_per_sec"] / max(one["peers"].values()))


def left_out(about: Mapping[str, Any], has_llama: bool) -> dict[str, str]:
    """Peers that a model does without, each with the reason: it is refused, or not installed."""
    if has_llama or llama.NAME in about["refused"]:
        return dict(about["refused"])
    return {llama.NAME: f"not installed: {llama.HOW_TO_INSTALL}"}


def absences(entries: list[dict[str, Any]]) -> list[str]:
    """Who did not take part and why, a line each."""
    found = {(one["model"], name): why for one in entries for name, why in one["left_out"].items()}
    return [f"{PEERS[name]} does not take part with {model}: {why}" for (model, name), why in found.items()]


def _write_files(model: str, folder: Path) -> dict[str, Any]:
    """What the files of a model's folder hold, which are written if they are not there."""
    about: dict[str, Any]
    if (folder / ABOUT).is_file():
        about = json.loads((folder / ABOUT).read_text())
        has_all = (folder / GGUF).is_file() or not llama.is_here()
        if "refused" in about and (has_all or about["refused"]):
            return about
    with notes.status(f"writing {model} for its peers"):
        done = subprocess.run(
            python_module("benchmarks.text_files", model, str(folder)), capture_output=True, text=True
        )
    if done.returncode:
        raise StageFailed(f"{model} can't be written for other runtimes.", done.stderr.strip()[-500:])
    about = json.loads((folder / ABOUT).read_text())
    return about


def _after_calls(contestant: Contestant, texts: list[Text], calls: int) -> dict[str, int]:
    """Bytes held after some calls with batches of 1 to 32 texts, and after all ``calls``; before each look the same
    two, a large one and a small one, as what is held for a moment depends on the last call's size."""
    rng = np.random.default_rng(_SEED)
    batches = [
        [texts[n] for n in rng.integers(0, len(texts), size)] for size in rng.choice([1, 1, 1, 1, 2, 4, 8, 32], calls)
    ]
    found, first = dict[str, int](), 0
    for last in sorted({min(calls, _MIXED_CALLS[0]), calls}):
        contestant.seconds([*batches[first:last], texts[:32], texts[:1]])
        found[f"after_{last}"], first = contestant.memory()["now"], last
    return found


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
