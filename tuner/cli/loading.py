"""An artifact of the user's, loaded here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rpc.lean import importing, without_torch
from tuner.errors import UploadInvalid

if TYPE_CHECKING:
    from tuner.artifact.loader import Runner


def loaded(file: Path) -> Runner:
    """The artifact, ready to run. Raises UploadInvalid saying what is wrong with it."""
    from tuner.artifact import loader  # it brings numpy, and then TVM: only commands that run something pay

    with refusals(file), importing(), without_torch():  # TVM would load it, which no artifact needs
        return loader.load(file)


@contextmanager
def refusals(file: Path) -> Iterator[None]:
    """What the artifact in ``file`` refuses with, as an error of the command line."""
    from tuner.artifact.members import ArtifactError

    try:
        yield
    except ArtifactError as error:
        hint = "See what it is made for: tar -xOf FILE manifest.json"
        raise UploadInvalid(str(error), hint if file.exists() else "Give an artifact that was downloaded.") from error
