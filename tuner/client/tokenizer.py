"""The tokenizer of an artifact: one that is given, or the one that travels in it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.artifact.members import locate, view
from tuner.errors import InvalidInput

_HINT = "Give a folder with the model's tokenizer: --tokenizer FOLDER."


def tokenizer_for(artifact: Path, manifest: Mapping[str, Any], folder: Path | None = None) -> Any:
    """The library's tokenizer from ``folder``, if that is given, else from the artifact's members that its manifest
    names, else from where its model lies, if that is a folder here.

    Raises InvalidInput when there is none, or none that can be used.
    """
    if folder is not None:
        return _loaded(folder)
    names = manifest.get("tokenizer") or []
    if names:
        places = locate(artifact)
        if not isinstance(names, list) or not all(isinstance(name, str) and name in places for name in names):
            raise InvalidInput(f"{artifact} lacks files of its tokenizer: {str(names)[:200]}.", _HINT)
        with tempfile.TemporaryDirectory(prefix="tunesmith-") as scratch:
            for name in names:
                view(places[name]).tofile(Path(scratch, Path(name).name))
            return _loaded(Path(scratch))
    model = manifest.get("model")
    location = Path(str(model.get("location", ""))) if isinstance(model, dict) else Path()
    if not (location.is_absolute() and location.is_dir()):
        raise InvalidInput(f"{artifact} has no tokenizer in it.", _HINT)
    return _loaded(location)


def prompted(model: Mapping[str, Any], text: str) -> str:
    """What sentence-transformers makes of a text before it is cut into tokens: the default prompt of a manifest's
    ``model`` goes before it."""
    if (name := model.get("default_prompt_name")) is not None:
        text = model["prompts"][name] + text
    return text.lower() if model.get("do_lower_case") else text


def _loaded(folder: Path) -> Any:
    from tuner.importers.tokenizer import load_tokenizer  # heavy, and of use here only

    tokenizer, why = load_tokenizer(folder)
    if tokenizer is None:
        raise InvalidInput(f"{why} Looked for in {folder}.", _HINT)
    return tokenizer
