"""Artifacts that are finished, timed against each other on this machine: whatever made them, and whenever."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rpc.facts import device_facts
from tuner.artifact.loader import Runner, load
from tuner.artifact.members import ArtifactError
from tuner.bench.compare import interleave
from tuner.bench.spec import Result, Timing
from tuner.errors import InvalidInput
from tuner.lengths import default_mix

_PER_ROUND, _WARMUP_SEC, _MAX_SEC = 5, 0.3, 120.0
_SEED = 0


def timed(artifacts: Mapping[str, str], rounds: int) -> Result:
    """Latencies of artifacts, by name and path, which take turns in this process on the same made-up inputs; of texts,
    those of one text of the default mix.

    Raises InvalidInput for one that does not run here, or that takes other shapes, or more threads, than the others.
    """
    runners = {name: _loaded(name, path) for name, path in artifacts.items()}
    _check_alike(runners)
    calls, texts = _calls(runners)
    found = interleave(calls, rounds, _PER_ROUND if texts == 1 else 1, _WARMUP_SEC, _MAX_SEC, _SEED)
    facts = device_facts()
    timings = [Timing(variant=name, **stats.each_of(texts).as_dict()) for name, stats in found.items()]
    threads = int(next(iter(runners.values())).manifest.get("threads") or facts["threads"])
    return Result(threads=threads, machine=str(facts["cpu"]), timings=timings)


def _loaded(name: str, path: str) -> Runner:
    try:
        return load(path)
    except ArtifactError as error:
        raise InvalidInput(
            f"{name} can't be timed here: {error}", "Leave it out, or compare without --timed."
        ) from None


def _check_alike(runners: Mapping[str, Runner]) -> None:
    for what, of in (("shapes", _shape), ("threads", lambda runner: f"{runner.manifest.get('threads')}")):
        found = {name: of(runner) for name, runner in runners.items()}
        if len(set(found.values())) > 1:
            told = ", ".join(f"{name} {value}" for name, value in found.items())
            raise InvalidInput(f"These are for different {what}: {told}.", "Time those of the same alone.")


def _shape(runner: Runner) -> str:
    """Of the input with most extents; models of one kind differ in how many inputs they have."""
    if runner.manifest.get("texts"):
        return "texts"
    shapes: list[list[int]] = [spec["shape"] for spec in runner.inputs]
    most = max(shapes, key=len)
    return " x ".join(str(extent) for extent in most)


def _calls(runners: Mapping[str, Runner]) -> tuple[dict[str, Callable[[], Any]], int]:
    """A call of each, and how many texts it takes: of one of a fixed shape what it takes counts as one."""
    first = next(iter(runners.values()))
    if not first.manifest.get("texts"):
        return {name: runner.bound(**_inputs(runner)) for name, runner in runners.items()}, 1
    from tuner.bench.texts import compiled_call, texts_of  # it loads PyTorch

    longest = min(runner.manifest["texts"]["longest"] for runner in runners.values())
    vocabulary = min(_below(runner, "input_ids") for runner in runners.values())
    texts = texts_of(list(default_mix(longest).sample), vocabulary, _SEED)
    return {name: compiled_call(runner, texts) for name, runner in runners.items()}, sum(
        len(batch) for batch in texts.batches
    )


def _inputs(runner: Runner) -> dict[str, np.ndarray]:
    """Seeded random numbers, whole ones within what an input means; all of the attention mask is seen."""
    rng = np.random.default_rng(_SEED)

    def one(name: str, value: np.ndarray) -> np.ndarray:
        if name == "attention_mask":
            return np.ones_like(value)
        if value.dtype.kind == "f":
            return rng.standard_normal(value.shape).astype(value.dtype)
        return rng.integers(0, _below(runner, name), value.shape).astype(value.dtype)

    return {name: one(name, value) for name, value in runner.example().items()}


def _below(runner: Runner, name: str) -> int:
    return next((spec.get("below") or 2 for spec in runner.inputs if spec["name"] == name), 2)
