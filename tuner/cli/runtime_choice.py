"""``classify`` by another runtime than the artifact, and by all of them side by side."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tuner.cli import words
from tuner.cli.common import console, notes

if TYPE_CHECKING:
    import numpy as np

    from tuner.artifact.loader import Runner
    from tuner.client.side_by_side import Row

BACKENDS = ("tuned", "torch", "onnxruntime", "openvino")


@contextmanager
def logits_by(
    backend: str, artifact: Path, runner: Runner, tokenizer: Any, model: Path | None
) -> Iterator[Callable[[str], np.ndarray]]:
    """Logits of a text by PyTorch, ONNX Runtime or OpenVINO. Raises InvalidInput for what is not installed, or has no
    files of the model to go by."""
    from tuner.client.runtimes import check_installed, files_for, opened

    check_installed(backend)
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as scratch:
        place = files_for(backend, artifact, model or model_folder(runner.manifest), Path(scratch))
        call = opened(backend, place, _threads(runner))
        yield lambda text: call(encoded(runner, tokenizer, text))[0]


def compare(
    artifact: Path,
    runner: Runner,
    tokenizer: Any,
    texts: list[str],
    model: Path | None,
    idle_sec: float,
    as_json: bool,
) -> None:
    """All runtimes that are installed on the same texts, told as a table or JSON."""
    from tuner.client.runtimes import files_for
    from tuner.client.side_by_side import Texts, side_by_side

    count = runner.outputs[0]["shape"][-1]
    told = runner.manifest["model"].get("id2label") or {}
    names = [str(told.get(str(number), f"LABEL_{number}")) for number in range(count)]
    files = partial(files_for, artifact=artifact, model=model or model_folder(runner.manifest))
    given = Texts([encoded(runner, tokenizer, text) for text in texts], names)
    order = ["torch", *(name for name in BACKENDS if name != "torch")]  # the others are held against the first

    def place_of(backend: str, scratch: Path) -> Path:
        return files(backend, scratch=scratch)

    with notes.status("reading"):
        rows = side_by_side(order, place_of, given, _threads(runner), idle_sec)
    if as_json:
        print(json.dumps([row.as_dict() for row in rows], indent=2))
    else:
        console.print(_table(rows, len(texts), idle_sec))


def encoded(runner: Runner, tokenizer: Any, text: str) -> dict[str, np.ndarray]:
    """One text as arrays ``(1, length)``, cut to what the artifact takes."""
    import numpy as np

    from tuner.client.tokenizer import prompted

    about = runner.manifest.get("texts")
    longest = about["longest"] if about else runner.inputs[0]["shape"][1]
    text = prompted(runner.manifest["model"], text)
    found = tokenizer([text], truncation=True, max_length=longest, return_tensors="np")
    zeros = np.zeros_like(found["input_ids"])
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: np.ascontiguousarray(found.get(name, zeros), np.int32) for name in names}


def model_folder(manifest: Mapping[str, Any]) -> Path | None:
    """Where the model's own files lie, if that is a folder here."""
    location = Path(manifest["model"]["location"])
    return location if location.is_absolute() and location.is_dir() else None


def _threads(runner: Runner) -> int:
    return int(runner.manifest.get("threads") or 1)


def _table(rows: list[Row], texts: int, idle_sec: float) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in (
        "runtime",
        "load",
        "first",
        "median",
        "mean (std)",
        f"after {idle_sec:g} s",
        "memory",
        "labels",
        "off by",
    ):
        table.add_column(name, justify="left" if name == "runtime" else "right", no_wrap=True)
    for row in rows:
        if row.steady is None:
            table.add_row(row.backend, row.note, style="dim")
            continue
        table.add_row(
            row.backend,
            *(words.milliseconds(value) for value in (row.load_ms, row.first_ms, row.steady.median_ms)),
            words.mean(row.steady.mean_ms, row.steady.std_ms),
            words.milliseconds(row.after_idle_ms),
            words.size(row.memory_bytes or 0),
            f"{row.agreeing} of {texts}",
            f"{row.max_abs_error:.1e}",
            style="bold green" if row.backend == "tuned" else "",
        )
    return table
