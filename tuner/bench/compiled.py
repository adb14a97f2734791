"""Compiled artifacts as contestants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tuner.artifact.loader import ArtifactError, load
from tuner.bench.spec import Variant
from tuner.errors import StageFailed


def compiled_call(entry: Variant, inputs: dict[str, Any]) -> Callable[..., Any]:
    """A call that runs an artifact on ``inputs``; like PyTorch's, it neither converts inputs nor copies outputs. Given
    other inputs it does.

    Raises StageFailed when the artifact can't be loaded.
    """
    try:
        runner = load(entry.path)
        bound = runner.bound(**inputs)
    except ArtifactError as error:
        raise StageFailed(f"The variant {entry.name} can't be loaded: {error}") from error
    return lambda given=None: bound() if given is None else runner.run(**given)
