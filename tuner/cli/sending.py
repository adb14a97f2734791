"""A model's folder as the service knows it: by its path where the service sees it, else as an upload."""

from __future__ import annotations

import os
from pathlib import Path

from rpc.whereabouts import whereabouts
from tuner.cli.common import notes
from tuner.cli.progress import transfer_bar
from tuner.client.http import Client
from tuner.client.upload import outgoing, send
from tuner.schemas import UploadOut

_GRAPHS = (".onnx", ".pt2")


def absolute_if_folder(model: str) -> str:
    """A path the service understands, whatever folder it was started in; other names stay as they are."""
    path = local_path(model)
    return str(path) if path else model


def local_path(model: str) -> Path | None:
    """The folder, or the file of a graph, that is meant; None for every other name."""
    path = Path(os.path.abspath(os.path.expanduser(model)))
    is_path = model.startswith((".", "~")) or "/" in model
    if is_path and path.is_dir():
        return path
    return path if model.endswith(_GRAPHS) and path.is_file() else None


def seen_there(client: Client, model: str, allow_pickle: bool) -> str:
    """What to call a model at the service: a folder that it can't see is uploaded, unless it is there already.

    Raises UploadInvalid for one that may not be sent, and what the service refuses with.
    """
    place = local_path(model)
    if place is None:
        return model
    if client.health().place in ("", whereabouts()):  # empty: of an earlier release, which takes no uploads
        return str(place)
    return send_shown(client, place, allow_pickle).model


def send_shown(client: Client, place: Path, allow_pickle: bool) -> UploadOut:
    """Upload with a progress bar; says what is left out."""
    what = outgoing(place, allow_pickle)
    if what.left_out:
        notes.print(f"left out: {', '.join(what.left_out)}", style="dim", highlight=False, markup=False)
    with transfer_bar(notes) as progress:
        task = progress.add_task("reading", total=what.size_bytes)

        def show(step: str, done: int, total: int) -> None:
            progress.update(task, description=step, completed=done, total=total)

        upload = send(client, place, what, show)
    notes.print(f"the service has it as {upload.model}", highlight=False, markup=False)
    return upload
