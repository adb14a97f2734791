"""Commands about artifacts: get one, run one."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.artifact.format import FORMATS
from tuner.cli import tables, words
from tuner.cli.checking import TIMEOUT_SEC, run_on
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

CHARTS = ("svg", "csv")  # of a comparison
FILL_MODES = ("zeros", "ones", "random")
_WARM_UP = 3  # inferences


def download(
    thing: Annotated[str, typer.Argument(metavar="JOB|ARTIFACT", help="Id of a finished job or of an artifact.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File or folder to write to.")] = None,
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join((*FORMATS, *CHARTS))}.")] = "tar",
    url: UrlOption = None,
) -> None:
    """Download an artifact, or what it was compared with; a broken download goes on where it was."""
    if form not in (*FORMATS, *CHARTS):
        raise typer.BadParameter(f"--format is {', '.join((*FORMATS, *CHARTS))}, not {form}")
    with connected(url) as client:
        if form in CHARTS:
            path = _fetch_comparison(client, thing, output or Path(), form)
            return notes.print(f"wrote {path}", highlight=False, soft_wrap=True)
        artifact = client.artifact_of(thing)
        path = fetch_artifact(client, artifact, output, form)
    notes.print(f"wrote {path}", highlight=False, soft_wrap=True)
    if artifact.runs is False:
        notes.print(artifact.tested, style="yellow", highlight=False, markup=False)
    if form == "bundle":
        notes.print("unpack it with tar -xf; its README.md says how to build with it", highlight=False)
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


def _fetch_comparison(client: Client, thing: str, path: Path, form: str) -> Path:
    """What a job, or the job that made an artifact, was compared with, as a picture or a table."""
    job_id = thing if thing.startswith("job-") else client.artifact(thing).job_id
    with client.stream(f"/v1/jobs/{job_id}/comparison?format={form}") as response:
        content = response.read()
    path = path / f"{job_id}.{form}" if path.is_dir() else path
    path.write_bytes(content)
    return path


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An artifact: the tar or its unpacked folder.")],
    runs: Annotated[int, typer.Option("--runs", "--repeat", min=1, help="How many times to take.")] = 50,
    number: Annotated[int, typer.Option(min=1, help="Inferences that each time is the mean of.")] = 1,
    print_time: Annotated[bool, typer.Option("--print-time", help="All that is known of the times.")] = False,
    text: Annotated[str | None, typer.Option(help="Text to feed it, by the tokenizer in it.")] = None,
    inputs: Annotated[Path | None, typer.Option(help="An .npz file with an array for each input.")] = None,
    fill_mode: Annotated[
        str | None,
        typer.Option(help=f"Made-up inputs: {', '.join(FILL_MODES)}.", show_default="zeros, mask ones"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", "--outputs", help="Write the outputs to this .npz file.")
    ] = None,
    save_inputs: Annotated[Path | None, typer.Option(help="Write what it was fed to this .npz file.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Refuse unless it runs there: cpu, metal, cuda.", show_default="where it runs")
    ] = None,
    on: Annotated[
        str | None, typer.Option("--on", metavar="KEY", help="Time it on this device of the service's fleet instead.")
    ] = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Run an artifact here: time it and print its outputs; needs no service."""
    if on is not None:
        if text or inputs or fill_mode or output or save_inputs or device:
            raise typer.BadParameter("a device of the fleet is fed samples and gives no outputs: --on goes alone")
        return run_on(str(file), on, TIMEOUT_SEC, as_json, url)
    import numpy as np  # it and TVM take a second: only this command pays

    if len([one for one in (text, inputs, fill_mode) if one is not None]) > 1:
        raise typer.BadParameter("--text, --inputs and --fill-mode exclude each other")
    if fill_mode not in (None, *FILL_MODES):
        raise typer.BadParameter(f"--fill-mode is {', '.join(FILL_MODES)}, not {fill_mode}")
    start = time.perf_counter()
    runner = loaded(file)
    load_ms = (time.perf_counter() - start) * 1e3
    _check_device(runner, device)
    values = _inputs(file, runner, text, inputs, fill_mode)
    with refusals(file):
        start = time.perf_counter()
        outputs = runner.run(**values)
        first_ms = (time.perf_counter() - start) * 1e3
        times_ms = _times_ms(runner.bound(**values), runs, number)
    for place, arrays in ((save_inputs, values), (output, outputs)):
        if place:
            np.savez(place, **arrays)
    median, p10, p90 = (float(value) for value in np.percentile(times_ms, [50, 10, 90]))
    latency = {"median_ms": median, "p10_ms": p10, "p90_ms": p90, "runs": runs, "number": number}
    latency |= {"mean_ms": float(np.mean(times_ms)), "std_ms": float(np.std(times_ms))}
    latency |= {"load_ms": load_ms, "first_ms": first_ms}
    latency |= {"min_ms": min(times_ms), "max_ms": max(times_ms)}
    if as_json:
        shapes = {name: {"shape": list(v.shape), "dtype": str(v.dtype)} for name, v in outputs.items()}
        json.dump({"latency": latency, "outputs": shapes}, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    with np.printoptions(precision=4, threshold=6, edgeitems=2, suppress=True):
        for name, value in outputs.items():
            console.print(f"{name}  {value.dtype}{list(value.shape)}", style="bold", markup=False)
            console.print(str(value), highlight=False, markup=False)
    console.print(
        f"loaded in {words.milliseconds(load_ms)}, first call {words.milliseconds(first_ms)}", highlight=False
    )
    console.print(words.mean_time(latency["mean_ms"], latency["std_ms"]), highlight=False)
    console.print(f"median {median:.2f} ms  p10 {p10:.2f}  p90 {p90:.2f}  over {runs} runs")
    if print_time:
        named = ("min", "max")
        console.print("  ".join(f"{name} {latency[f'{name}_ms']:.2f}" for name in named) + " ms")


def _times_ms(call: Callable[[], Any], repeat: int, number: int) -> list[float]:
    """Milliseconds of one inference, each the mean of ``number``, after a warm-up."""
    for _ in range(_WARM_UP):
        call()
    times_ms = []
    for _ in range(repeat):
        start = time.perf_counter()
        for _ in range(number):
            call()
        times_ms.append((time.perf_counter() - start) * 1e3 / number)
    return times_ms


def _check_device(runner: Runner, wanted: str | None) -> None:
    kind = (runner.manifest.get("target") or {}).get("kind", "llvm")
    here = "cpu" if kind == "llvm" else kind
    if wanted not in (None, here):
        raise InvalidInput(f"This artifact runs on {here}, not on {wanted}.", "Compile the model for that target.")


def _inputs(
    artifact: Path, runner: Runner, text: str | None, file: Path | None, fill_mode: str | None
) -> dict[str, np.ndarray]:
    if text is not None:
        from tuner.client.text import encode

        return encode(artifact, runner.manifest, text)
    if file is None:
        return runner.example() if fill_mode is None else _filled(runner, fill_mode)
    import numpy as np

    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{file} can't be read as .npz: {error}.", "Write one with numpy.savez(file, name=array)."
        ) from None


def _filled(runner: Runner, mode: str) -> dict[str, np.ndarray]:
    """Inputs of the example's shapes. Random ones are seeded; whole numbers stay within what the input means."""
    import numpy as np

    rng, below = np.random.default_rng(0), {spec["name"]: spec.get("below") or 2 for spec in runner.inputs}

    def one(name: str, value: np.ndarray) -> np.ndarray:
        if mode != "random":
            return np.full_like(value, mode == "ones")
        if value.dtype.kind == "f":
            return rng.standard_normal(value.shape).astype(value.dtype)
        return value if name == "attention_mask" else rng.integers(0, below[name], value.shape).astype(value.dtype)

    return {name: one(name, value) for name, value in runner.example().items()}
