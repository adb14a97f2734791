"""``python -m benchmarks.chaos``: a service tunes while processes chosen by chance from its whole tree are killed and
stopped, its disk fills, clocks jump and the tracker vanishes; then what it says must be true, and nothing be left.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from typing import Annotated, Any, cast, get_args

import typer
from rich.table import Table

from benchmarks import report
from benchmarks.chaos.blame import wrongly_blamed
from benchmarks.chaos.books import Books
from benchmarks.chaos.clock import Clocks
from benchmarks.chaos.faults import Faults, small_disk, unmount
from benchmarks.chaos.service import Service
from benchmarks.chaos.spread import Spread
from rpc.facts import device_facts, physical_cores
from tuner.cli.common import console, notes, run_app
from tuner.cli.sending import absolute_if_folder
from tuner.errors import StageFailed, TunerError
from tuner.schemas import BudgetIn, JobIn, JobState
from tuner.state import TERMINAL

_LOOK_SEC = 0.25
_NO_SPACE_BELOW = 32 * 2**20  # the small disk is no place for the half gigabyte that is kept free elsewhere


@dataclass(frozen=True)
class Pace:
    """Seconds from one fault to the next, for all of them, and for the last job after them."""

    every_sec: float
    within_sec: float
    end_sec: float


def main(
    faults: Annotated[int, typer.Option(help="How many things go wrong.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the chance by which they do.")] = 1,
    every_sec: Annotated[float, typer.Option(help="Seconds between two of them; more in a stage that had many.")] = 6.0,
    model: Annotated[str, typer.Option(help="What is tuned.")] = "minilm-l6",
    seq_len: Annotated[int, typer.Option("--seq", help="Its sequence length.")] = 32,
    trials: Annotated[int, typer.Option(help="Budget of each job in candidates; one follows the other.")] = 64,
    disk_mib: Annotated[int, typer.Option(help="Size of the disk that fills.")] = 1536,
    within_sec: Annotated[float, typer.Option(help="How long it may take until all of them have gone wrong.")] = 7200.0,
    end_sec: Annotated[float, typer.Option(help="How long the last job may take when all goes well again.")] = 300.0,
    folder: Annotated[
        Path | None, typer.Option(help="Where it happens; else in the system's temporary folder.")
    ] = None,
) -> None:
    """Put a service through it; writes benchmarks/out/chaos.json and fails when anything was lost, doubled or left."""
    place = Path(tempfile.mkdtemp(prefix="tunesmith-chaos-", dir=folder))
    notes.print(f"in {place}", style="dim", highlight=False)
    disk = place / "disk"
    skipped = {}
    if why := small_disk(disk, disk_mib):
        skipped["disk"] = why
    clocks = None
    try:
        clocks = Clocks(place)
    except (OSError, CalledProcessError) as error:
        skipped["clock"] = str(error)
    env = {"TUNER_MIN_FREE_BYTES": str(_NO_SPACE_BELOW), **(clocks.env if clocks else {})}
    service = Service(disk / "data", place / "serve.log", env)
    chance, spread = Faults(service, seed, clocks, None if "disk" in skipped else disk), Spread()
    wish = JobIn(
        model=absolute_if_folder(model), target="local", batch=1, seq_len=seq_len, budget=BudgetIn(trials=trials)
    )
    begun = time.monotonic()
    try:
        found = _put_through(service, chance, spread, wish, faults, Pace(every_sec, within_sec, end_sec), place)
    finally:
        chance.heal(all_of_it=True)
        service.stop()
        if "disk" not in skipped:
            unmount(disk)
    body = {
        **found,
        "seed": seed,
        "struck": dict(chance.struck),
        "hit": dict(chance.hit),
        "while": dict(spread.fallen),
        "skipped": skipped,
        "supervisor_restarts": service.restarts,
        "seconds": round(time.monotonic() - begun),
        **report.circumstances(device_facts()["cpu"]),
    }
    path = report.save("chaos", body)
    console.print(table(body))
    console.print(f"written to {report.shown(path)}", style="dim", soft_wrap=True)
    if any(body["wrong"].values()):
        raise StageFailed("Something was lost, doubled, blamed or left.", f"Logs and data are in {place}.")
    shutil.rmtree(place, ignore_errors=True)


def table(body: dict[str, Any]) -> Table:
    """What people want to know."""
    rows = Table(show_header=False)
    rows.add_column()
    rows.add_column(justify="right")
    rows.add_row("faults", ", ".join(f"{count} {kind}" for kind, count in sorted(body["struck"].items())))
    rows.add_row(
        "who was hit", ", ".join(f"{name} {n}" for name, n in sorted(body["hit"].items(), key=lambda e: -e[1]))
    )
    rows.add_row(
        "while the job was", ", ".join(f"{state} {n}" for state, n in sorted(body["while"].items(), key=_place))
    )
    for kind, why in body["skipped"].items():
        rows.add_row(f"no {kind}", why, style="yellow")
    rows.add_row("jobs done", str(body["jobs_done"]))
    rows.add_row("records", str(body["records"]))
    for what, count in body["wrong"].items():
        rows.add_row(what, str(count), style="red" if count else "green")
    return rows


def _place(entry: tuple[str, int]) -> int:
    """Of a state of a job in its life."""
    return get_args(JobState).index(entry[0])


def _put_through(
    service: Service,
    chance: Faults,
    spread: Spread,
    wish: JobIn,
    faults: int,
    pace: Pace,
    place: Path,
) -> dict[str, Any]:
    service.keep_up()
    service.wait_until_ready()
    books = Books(service.settings)
    jobs = _Jobs(service, books, wish)
    try:
        strike(service, chance, spread, books, jobs, faults, pace)
        _rest(service, books, jobs, pace.end_sec)
        code = service.stop()
        left = service.left()
        for process in left:
            notes.print(f"left: {process}", style="red", highlight=False)
        failed = books.failed()
        innocent = wrongly_blamed(books.engine, failed, place / "again", physical_cores())
        for record in innocent:
            notes.print(f"innocent: {record.candidate} {record.error_class} {record.error}", style="red")
        found = books.jobs()
        for job in found:
            if job.state != "succeeded":
                notes.print(f"{job.id} {job.state}: {job.message} {job.error}", style="red", highlight=False)
        wrong = books.verdict()
        wrong["candidates blamed wrongly"] = len(innocent)
        wrong["processes left"] = len(left) + (code != 0)
        return {
            "jobs_done": sum(job.state == "succeeded" for job in found),
            "records": books.count(),
            "failed_records": len(failed),
            "wrong": wrong,
        }
    finally:
        books.close()


def strike(
    service: Service, chance: Faults, spread: Spread, books: Books, jobs: _Jobs, faults: int, pace: Pace
) -> None:
    """One fault after the other, while there is always a job. Raises StageFailed when they take too long."""
    begun = last_at = time.monotonic()
    pause_sec = pace.every_sec
    while (struck := spread.fallen.total()) < faults:
        if time.monotonic() > begun + pace.within_sec:
            raise StageFailed(f"{struck} of {faults} things went wrong within {pace.within_sec:g} s.", jobs.shown())
        service.keep_up()
        chance.heal()
        books.look()
        jobs.see_to(another=True)
        is_due = time.monotonic() >= last_at + spread.pauses(jobs.state) * pause_sec
        if is_due and (what := chance.strike()):
            spread.note(jobs.state)
            last_at, pause_sec = time.monotonic(), chance.pause_sec(pace.every_sec)
            line = f"{spread.fallen.total():4}  {what}   [{jobs.shown()}]"
            notes.print(line, highlight=False, markup=False, soft_wrap=True)
        time.sleep(_LOOK_SEC)
    chance.heal(all_of_it=True)


def _rest(service: Service, books: Books, jobs: _Jobs, end_sec: float) -> None:
    """Let what is there come to its end."""
    _until(end_sec, lambda: _see(service, books, jobs))


def _see(service: Service, books: Books, jobs: _Jobs) -> bool:
    service.keep_up()
    books.look()
    jobs.see_to(another=False)
    return jobs.all_ended


def _until(most_sec: float, happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + most_sec
    while time.monotonic() < deadline and not happened():
        time.sleep(_LOOK_SEC)


class _Jobs:
    """One job after the other, each resumed when a full disk paused it, as people do."""

    def __init__(self, service: Service, books: Books, wish: JobIn) -> None:
        self.all_ended = False
        self.state: JobState = "submitted"  # of the last job
        self._service = service
        self._books = books
        self._wish = wish
        self._last = "no job"

    def see_to(self, another: bool) -> None:
        """Submit or resume; a service that can't be reached is asked again the next time."""
        found = self._books.jobs()
        if found:
            self.state = cast(JobState, found[-1].state)
            self._last = f"{found[-1].id} {self.state} {found[-1].trials}: {found[-1].message}"
        self.all_ended = bool(found) and all(job.state in TERMINAL for job in found)
        with contextlib.suppress(TunerError), self._service.client() as client:
            for job in found:
                if job.state == "paused" and not job.wish:
                    client.resume(job.id)
            if another and (self.all_ended or not found):
                client.submit(self._wish)

    def shown(self) -> str:
        """What the last job is at."""
        return self._last[:120]


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
