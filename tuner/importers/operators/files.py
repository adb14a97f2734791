"""Operators of the user's own as files: a PrimFunc as TVM's JSON, and which of its inputs are constants. No TVM."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pydantic import ValidationError

from rpc.drafts import draft
from tuner.errors import ModelInvalid
from tuner.importers.operators import allowed
from tuner.importers.plain_file import read_bounded
from tuner.schemas import OperatorIn

SUFFIX = ".operator.json"
MAX_BYTES = 8 * 1024 * 1024


def is_operator_file(path: Path) -> bool:
    """Is this path meant as an operator's file?"""
    return path.name.endswith(SUFFIX) and path.is_file()


def is_own(location: str) -> bool:
    """Is a model's location an operator of the user's own?"""
    return location.endswith(SUFFIX)


def label(model: str) -> str:
    """A model's name for people: of an operator file its name alone."""
    return Path(model).name.removesuffix(SUFFIX) if is_own(model) else model


def write(folder: Path, operator: OperatorIn) -> Path:
    """Store an operator below ``folder``; the same one gives the same path. Raises ModelInvalid."""
    allowed.checked(operator.name, operator.tir)
    text = operator.model_dump_json()
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    path = folder / f"{operator.name}-{digest}{SUFFIX}"
    if path.is_file():  # whole, and as it was: a job may be about to read it
        path.touch()  # nobody takes it for old now
        return path
    with draft(folder) as scratch:  # others may be sending the same one
        (scratch / path.name).write_text(text)
        os.replace(scratch / path.name, path)
    return path


def read(path: Path) -> OperatorIn:
    """The operator in a file, as far as it computes. Raises ModelInvalid."""
    try:
        operator = OperatorIn.model_validate_json(read_bounded(path, MAX_BYTES))
    except (OSError, ValidationError) as error:
        raise ModelInvalid(
            f"{path} is no operator: {str(error).splitlines()[0]}.", "Send it again with `tunesmith tune-op`."
        ) from None
    return operator.model_copy(update={"tir": allowed.checked(operator.name, operator.tir)})
