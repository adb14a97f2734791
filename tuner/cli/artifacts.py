"""Commands about artifacts: get one, run one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.artifact.format import FORMATS
from tuner.cli import tables
from tuner.cli.common import JsonOption, UrlOption, connected, console, notes, print_json
from tuner.cli.loading import loaded, refusals
from tuner.cli.progress import transfer_bar
from tuner.client.download import download as fetch
from tuner.client.download import wanted
from tuner.client.http import Client
from tuner.errors import InvalidInput
from tuner.schemas import ArtifactOut

if TYPE_CHECKING:
    import numpy as np

    from tuner.artifact.loader import Runner


def download(
    thing: Annotated[str, typer.Argument(metavar="JOB|ARTIFACT", help="Id of a finished job or of an artifact.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File or folder to write to.")] = None,
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = "tar",
    url: UrlOption = None,
) -> None:
    """Download an artifact; a broken download goes on where it was."""
    if form not in FORMATS:
        raise typer.BadParameter(f"--format is {', '.join(FORMATS)}, not {form}")
    with connected(url) as client:
        artifact = client.artifact_of(thing)
        path = fetch_artifact(client, artifact, output, form)
    notes.print(f"wrote {path}", highlight=False, soft_wrap=True)
    if artifact.manifest.get("load_check", "device") != "device":
        notes.print(str(artifact.manifest["tested"]), style="yellow", highlight=False)
    if form == "tar":
        notes.print(f"run it with: tunesmith run {path}", highlight=False, soft_wrap=True)


def artifacts(
    job: Annotated[str | None, typer.Option(help="Only the artifact of this job.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """List artifacts, the newest first."""
    with connected(url) as client:
        page = client.artifacts(job, limit)
    if as_json:
        print_json(page)
    elif page.items:
        console.print(tables.artifacts_table(page.items))
    else:
        none = f"no artifact of {job}" if job else "no artifacts yet"
        notes.print(f"{none}; a job that succeeds makes one", highlight=False)


def fetch_artifact(client: Client, artifact: ArtifactOut, output: Path | None, form: str = "tar") -> Path:
    """Downloads with a progress bar; an ``output`` that is a folder gets the artifact's id as the name."""
    file, path = wanted(artifact, form), output or Path()
    if path.is_dir():
        path = path / file.name
    with transfer_bar(notes) as progress:
        task = progress.add_task(artifact.id, total=file.size_bytes)
        return fetch(client, file, path, lambda done: progress.update(task, completed=done))


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An artifact: the tar or its unpacked folder.")],
    runs: Annotated[int, typer.Option(min=1, help="How many inferences to time.")] = 50,
    text: Annotated[str | None, typer.Option(help="Text to feed it, by the tokenizer in it.")] = None,
    inputs: Annotated[Path | None, typer.Option(help="An .npz file with an array for each input.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the outputs to this .npz file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run an artifact here: time it and print its outputs; needs no service."""
    import numpy as np  # it and TVM take a second: only this command pays

    runner = loaded(file)
    values = _inputs(file, runner, text, inputs)
    with refusals(file):
        outputs = runner.run(**values)
        median, p10, p90 = runner.benchmark(runs, **values)
    if output:
        np.savez(output, **outputs)
    latency = {"median_ms": median, "p10_ms": p10, "p90_ms": p90, "runs": runs}
    if as_json:
        shapes = {name: {"shape": list(v.shape), "dtype": str(v.dtype)} for name, v in outputs.items()}
        json.dump({"latency": latency, "outputs": shapes}, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    with np.printoptions(precision=4, threshold=6, edgeitems=2, suppress=True):
        for name, value in outputs.items():
            console.print(f"{name}  {value.dtype}{list(value.shape)}", style="bold", markup=False)
            console.print(str(value), highlight=False, markup=False)
    console.print(f"median {median:.2f} ms  p10 {p10:.2f}  p90 {p90:.2f}  over {runs} runs")


def _inputs(artifact: Path, runner: Runner, text: str | None, file: Path | None) -> dict[str, np.ndarray]:
    if text is not None and file is not None:
        raise typer.BadParameter("--text and --inputs exclude each other")
    if text is not None:
        from tuner.client.text import encode

        return encode(artifact, runner.manifest, text)
    if file is None:
        return runner.example()
    import numpy as np

    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{file} can't be read as .npz: {error}.", "Write one with numpy.savez(file, name=array)."
        ) from None
