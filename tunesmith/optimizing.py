"""From a model in your hands to a faster one: by the service that runs here, by another, or by one for this call."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from tuner.bench.against import named
from tuner.cli import words
from tuner.cli.common import notes, settings_with, token_for
from tuner.cli.local_service import local_service
from tuner.cli.progress import watch
from tuner.cli.sending import seen_there
from tuner.cli.text_file import sampled
from tuner.client.answers import error_of
from tuner.client.http import Client
from tuner.errors import InvalidInput, StageFailed
from tuner.schemas import JobOut
from tuner.schemas.common import PrecisionWish
from tunesmith.artifact import load
from tunesmith.handing_over import hand_over, wish_for


def optimize(
    model: Any,
    example_inputs: Any = None,
    *,
    texts: Sequence[str] | None = None,
    target: str = "local",
    budget: str | int = "express",
    precision: str = "fp32",
    max_drop: float | None = None,
    against: str | Sequence[str] = (),
    tokenizer: Any = None,
    out: str | Path | None = None,
    service: str | Client | None = None,
) -> Any:
    """Tune a model for this machine and give it back faster: a ``torch.nn.Module`` with the same calls and outputs, of
    a SentenceTransformer a SentenceTransformer.

    ``model`` is one of transformers, a SentenceTransformer, the name of a preset, folder or hub model, or any module of
    PyTorch with the ``example_inputs`` it is exported with. An encoder is tuned for texts as long as ``texts``, or for
    the shape of ``example_inputs``, or for texts of any lengths. ``budget`` is "express", "full" or a number of trials,
    ``precision`` what products are computed in, or "fastest" for the quickest that loses at most ``max_drop`` (0.005:
    half a percent), also on ``texts`` (docs/precision.md), ``against`` what it is timed beside: "onnxruntime", the path
    of a FILE.onnx and so on (docs/cli.md). The artifact is written to ``out`` (else
    ``NAME.tunesmith.tar`` here), and can be loaded again without a service.

    ``service`` is a client or an address; one elsewhere is sent the model. Without one, the service of this user's data
    directory does it, started for this call if none runs. Ctrl-C ends the job; what was measured is kept for the next.

    Raises the TunerError the job failed with, and InvalidInput for what can't be asked for.
    """
    known = get_args(PrecisionWish)
    if precision not in known:
        raise InvalidInput(f"No module computes in {precision}.", f"It is one of {', '.join(known)}.")
    if target != "local":
        raise InvalidInput(
            f"A module for {target} can't be given to this program.",
            "Submit a job for it, and download what it made: tunesmith.Client(...).submit.",
        )
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as scratch, service_for(service) as client:
        handed = hand_over(model, Path(scratch), tokenizer, example_inputs)
        handed = replace(handed, model=seen_there(client, handed.model, allow_pickle=False))
        judged_on = sampled(list(texts)) if texts and precision != "fp32" else None
        rivals = [seen_there(client, one, allow_pickle=False) for one in named(against)]
        gate = {"precision": precision, "max_drop": max_drop, "judged_on": judged_on, "against": rivals}
        wish = wish_for(handed, example_inputs, texts, budget, tokenizer).model_copy(update=gate)
        job = _followed(client, client.submit(wish))
        path = client.download(job.id, out or f"{handed.name}.tunesmith.tar")
        said = words.verdict(job, client.benchmarks(job.id))
    notes.print(said, style="bold", highlight=False, markup=False)
    notes.print(f"wrote {path}; tunesmith.load({str(path)!r}) has it again", highlight=False, markup=False)
    return handed.back(load(path).as_torch(handed.config))


@contextmanager
def service_for(service: str | Client | None, told: Console = notes) -> Iterator[Client]:
    """A client of the service that is meant, started for as long as this if it is this user's and doesn't run."""
    if isinstance(service, Client):
        yield service
    elif service is not None:
        with Client(service, token_for(settings_with(), service)) as client:
            yield client
    else:
        settings = settings_with()
        try:
            with local_service(settings, told) as client:
                yield client
        finally:
            told.print(f"records stay in {settings.root}", highlight=False, markup=False, soft_wrap=True)


def _followed(client: Client, job: JobOut) -> JobOut:
    """The job once it has succeeded. Raises what it failed with."""
    notes.print(f"{job.id}: {words.shape(job)}, {words.budget(job)}", highlight=False, markup=False)
    try:
        job = watch(client.progress(job.id), notes)
    except KeyboardInterrupt:
        client.cancel(job.id)
        notes.print("stopped; what was measured is kept, and the next call starts from it", highlight=False)
        raise
    return succeeded(job)


def succeeded(job: JobOut) -> JobOut:
    """The job, if it came to something. Raises what it failed with."""
    if job.state == "succeeded":
        return job
    raise error_of(job.error) if job.error else StageFailed(f"{job.id} was {job.state}.", "Call again.")
