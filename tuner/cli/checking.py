"""``tunesmith check``: an artifact on a device of the fleet."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.common import JsonOption, UrlOption, connected, console, notes, print_json
from tuner.cli.loading import refusals
from tuner.client.http import Client
from tuner.errors import Conflict, LoadCheckFailed
from tuner.schemas import ArtifactOut, DeviceCheckOut

TIMEOUT_SEC = 1800.0
_ASK_EVERY_SEC = 1.0


def check(
    thing: Annotated[
        str, typer.Argument(metavar="JOB|ARTIFACT", help="Id of a finished job or an artifact, or its file.")
    ],
    device: Annotated[str, typer.Option("--on", metavar="KEY", help="The device, as `tunesmith devices` lists it.")],
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for what comes of it.")] = TIMEOUT_SEC,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Load and run an artifact on a device of the fleet, and time it there."""
    run_on(thing, device, timeout, as_json, url)


def run_on(thing: str, device: str, timeout: float, as_json: bool, url: str | None) -> None:
    """Has a device run the artifact of a job, of an id, or of a file that the service made; tells what came of it."""
    path = Path(thing)
    with connected(url) as client:
        artifact = client.artifact(_id_in(path)) if path.exists() else client.artifact_of(thing)
        client.check_artifact(artifact.id, device)
        with notes.status(f"waiting for {device}") as status:
            found = _awaited(client, artifact, device, time.monotonic() + timeout, status.update)
    if as_json:
        print_json(found)
    else:
        console.print(found.words, highlight=False, markup=False)
    if found.state == "failed":
        raise LoadCheckFailed(f"{artifact.id} {found.words}.", "See run/logs/coordinator.log of the service.")


def _id_in(file: Path) -> str:
    """The id that a file's manifest tells. Raises UploadInvalid for what is no artifact."""
    from tuner.artifact.members import ArtifactError, locate, view  # it brings numpy

    with refusals(file):
        members = locate(file)
        if "manifest.json" not in members:
            raise ArtifactError(f"{file} is no artifact: it has no manifest.json.")
        try:
            return str(json.loads(bytes(view(members["manifest.json"])))["id"])
        except (ValueError, KeyError, TypeError):
            raise ArtifactError(f"{file} is no artifact: its manifest can't be read.") from None


def _awaited(
    client: Client, artifact: ArtifactOut, device: str, until: float, say: Callable[[str], None]
) -> DeviceCheckOut:
    while True:
        found = next(one for one in client.artifact(artifact.id).checks if one.device == device)
        if found.ended_at is not None:
            return found
        if time.monotonic() >= until:
            raise Conflict(
                f"{artifact.id} is still {found.words}.", f"See later: tunesmith artifacts --job {artifact.job_id}"
            )
        say(found.words)
        time.sleep(_ASK_EVERY_SEC)
