"""The rivals that a job asks for, and where their files lie. It looks at files: never within ``write``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Engine

from tuner.bench.against import ONNX, Rival, rivals
from tuner.bench.spec import Variant
from tuner.config import Settings
from tuner.errors import InvalidInput, TunerError
from tuner.importers.model_file import graph_in
from tuner.importers.plain_file import refuse_special
from tuner.schemas import JobIn
from tuner.uploads.desk import Desk
from tuner.uploads.names import is_upload


def check_rivals(settings: Settings, engine: Engine, wish: JobIn) -> None:
    """Raise InvalidInput for a rival that there is not, or whose file is not where the service is."""
    found = rivals(wish.against)
    if wish.against and wish.compile_only:
        raise InvalidInput("A job that only compiles times nothing.", "Leave out --against, or tune.")
    for rival in found:
        file_of(settings, engine, rival)


def entries(settings: Settings, engine: Engine, names: Iterable[str]) -> tuple[list[Variant], dict[str, str]]:
    """Contestants of these names, and why others have no file any more."""
    found: dict[str, Variant] = {}
    absent: dict[str, str] = {}
    for rival in rivals(names):
        try:
            one = rival.variant(file_of(settings, engine, rival))
        except TunerError as error:
            absent[rival.name] = f"{error.message} {error.hint}".strip()
            continue
        name = one.name if one.name not in found else rival.name  # two files may be called alike
        found[name] = one.model_copy(update={"name": name})
    return list(found.values()), absent


def file_of(settings: Settings, engine: Engine, rival: Rival) -> Path | None:
    """Where a rival's file is; None: it needs none. Raises InvalidInput, ModelUnknown or ModelInvalid."""
    if not rival.file:
        return None
    if is_upload(rival.file):
        return _uploaded(settings, engine, rival)
    path = Path(os.path.expanduser(rival.file))
    try:
        if path.is_absolute():
            refuse_special(path)
            return path
    except (OSError, ValueError):  # there is none, or can't be one of this name
        pass
    raise InvalidInput(
        f"There is no file {rival.file} on the service's machine.",
        "Give the full path of a file that is there, or upload it: `tunesmith uploads send FILE`.",
    )


def _uploaded(settings: Settings, engine: Engine, rival: Rival) -> Path:
    place = Path(Desk(settings, engine).source(rival.file, False, None).location)
    file = place if place.suffix == ONNX else graph_in(place)
    if file is None or file.suffix != ONNX:
        raise InvalidInput(f"{rival.file} holds no {ONNX} file alone.", f"Upload the {ONNX} file itself.")
    return file
