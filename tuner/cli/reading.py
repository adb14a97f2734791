"""Commands that read texts by an artifact here: labels, vectors."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.progress import track

from tuner.cli import runtime_choice
from tuner.cli.common import JsonOption, console, notes
from tuner.cli.loading import loaded, refusals
from tuner.cli.text_file import texts_in

if TYPE_CHECKING:
    import numpy as np

    from tuner.artifact.loader import Runner
    from tuner.client.labels import Answer

T = TypeVar("T")
_MOST_SHOWN = 10  # texts, of which all pairs are told

ArtifactArgument = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="The tar or its unpacked folder.")]
TextsArgument = Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts to read.")]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", exists=True, dir_okay=False, help="Texts, one a line; or in a .tsv, .csv or .jsonl."),
]
ColumnOption = Annotated[
    str | None, typer.Option("--column", help="The file's column that holds them.", show_default="text or sentence")
]
TokenizerOption = Annotated[
    Path | None,
    typer.Option("--tokenizer", exists=True, file_okay=False, help="A tokenizer's folder.", show_default="its own"),
]


def classify(
    artifact: ArtifactArgument,
    texts: TextsArgument = None,
    file: FileOption = None,
    column: ColumnOption = None,
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Labels to show of each text.")] = 1,
    tokenizer: TokenizerOption = None,
    backend: Annotated[str, typer.Option(help=f"Who computes: {', '.join(runtime_choice.BACKENDS)}.")] = "tuned",
    compare: Annotated[bool, typer.Option("--compare", help="All of these side by side on the texts.")] = False,
    model: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="The model's own folder.", show_default="where it was"),
    ] = None,
    idle_sec: Annotated[float, typer.Option("--idle-sec", min=0, help="Of --compare: rest before the last call.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Tell the labels of texts; asks for them when none are given. Needs no service."""
    from tuner.client.labels import check_head

    if backend not in runtime_choice.BACKENDS:
        raise typer.BadParameter(f"--backend is {', '.join(runtime_choice.BACKENDS)}, not {backend}")
    runner = loaded(artifact)
    check_head(runner.manifest)
    outputs = _Outputs(artifact, runner, tokenizer)
    given = _given(texts, file, column)
    if compare:
        if not given:
            raise typer.BadParameter("--compare needs texts: give some, or --file")
        runtime_choice.compare(artifact, runner, outputs.tokenizer, given, model, idle_sec, as_json)
    elif backend == "tuned":
        _tell_labels(runner, lambda some: (one["logits"] for one in outputs.of(some)), given, top_k, as_json)
    else:
        with runtime_choice.logits_by(backend, artifact, runner, outputs.tokenizer, model) as logits:
            _tell_labels(runner, lambda some: map(logits, some), given, top_k, as_json)


def _tell_labels(
    runner: Runner,
    logits_of: Callable[[list[str]], Iterable[np.ndarray]],
    given: list[str] | None,
    top_k: int,
    as_json: bool,
) -> None:
    """The answers to the texts given, else to each that is asked for."""
    from tuner.client.labels import answer

    def answers(found: list[str]) -> Iterator[Answer]:
        for text, logits in zip(found, logits_of(found), strict=True):
            yield answer(text, logits, runner.manifest)

    if given is None:
        for one in (one for text in _asked() for one in answers([text])):
            print(json.dumps(one.as_dict()) if as_json else _labels(one, top_k), flush=True)
        return
    told = _timed(answers(given), len(given))
    if as_json:
        print(json.dumps([one.as_dict() for one in told], indent=2))
    for one in [] if as_json else told:
        line = _labels(one, top_k) + (f"  {one.text}" if len(told) > 1 else "")
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def embed(
    artifact: ArtifactArgument,
    texts: TextsArgument = None,
    file: FileOption = None,
    column: ColumnOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the vectors to this .npy file.")] = None,
    pooling: Annotated[str, typer.Option(help="Of an encoder that has no vector of a text: mean or cls.")] = "mean",
    tokenizer: TokenizerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make vectors of texts, and tell how alike they are; asks for them when none are given. Needs no service."""
    import numpy as np

    from tuner.client.vectors import similarities, vector

    if pooling not in ("mean", "cls"):
        raise typer.BadParameter(f"--pooling is mean or cls, not {pooling}")
    outputs = _Outputs(artifact, loaded(artifact), tokenizer)
    given = _given(texts, file, column)
    given = list(_asked()) if given is None else given
    if not given:
        raise typer.BadParameter("there are no texts")
    vectors = np.stack(_timed((vector(values, pooling) for values in outputs.of(given)), len(given)))
    if output:
        np.save(output, vectors)
        notes.print(f"wrote {output}: float32[{len(vectors)},{vectors.shape[1]}]", highlight=False, soft_wrap=True)
    alike = similarities(vectors)
    if as_json:
        print(json.dumps({"texts": given, "vectors": vectors.tolist(), "similarities": alike.tolist()}))
    elif len(given) <= _MOST_SHOWN:
        _show_pairs(given, alike)


class _Outputs:
    """What the artifact gives of texts; its refusals are the command's."""

    def __init__(self, artifact: Path, runner: Runner, tokenizer: Path | None) -> None:
        from tuner.client.reader import Reader
        from tuner.client.tokenizer import tokenizer_for

        self._artifact = artifact
        self.tokenizer = tokenizer_for(artifact, runner.manifest, tokenizer)
        self._reader = Reader(runner, self.tokenizer)

    def of(self, texts: list[str]) -> Iterator[dict[str, np.ndarray]]:
        with refusals(self._artifact):
            yield from self._reader.outputs(texts)


def _given(texts: list[str] | None, file: Path | None, column: str | None) -> list[str] | None:
    """The texts that the command line names; None: it names none."""
    if texts and file:
        raise typer.BadParameter("TEXT and --file exclude each other")
    if column and not file:
        raise typer.BadParameter("--column is one of --file's")
    return texts_in(file, column) if file else texts or None


def _asked() -> Iterator[str]:
    """Texts as they are typed, or come through a pipe, to the end of the input; empty lines are none."""
    if not sys.stdin.isatty():
        yield from (text for line in sys.stdin if (text := line.strip()))
        return
    notes.print("a text a line; Ctrl-D ends", style="dim")
    while True:
        try:
            if text := input("> ").strip():
                yield text
        except EOFError:
            return


def _timed(results: Iterable[T], count: int) -> list[T]:
    """All of them, with progress on a terminal; says how long they took."""
    started = time.perf_counter()
    found = list(track(results, "", count, console=notes, transient=True, disable=not notes.is_terminal))
    seconds = time.perf_counter() - started
    if count > 1:
        each = f"{seconds / count * 1e3:.2f} ms each, {count / seconds:.1f} texts/s"
        notes.print(f"{count:,} texts in {seconds:.2f} s: {each}", highlight=False)
    return found


def _labels(answer: Answer, top_k: int) -> str:
    likeliest = list(answer.probabilities.items())[:top_k]
    return ", ".join(f"{label} ({value:.2%})" for label, value in likeliest)


def _show_pairs(texts: Sequence[str], alike: np.ndarray) -> None:
    for row in range(len(texts)):
        for other in range(row + 1, len(texts)):
            line = f"{alike[row, other]:+.4f}  {texts[row]}  |  {texts[other]}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
