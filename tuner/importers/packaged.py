"""Weights that an installed Python distribution carries as package data, found without importing it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path


def packaged_folder(distribution: str) -> Path | None:
    """The folder inside an installed distribution that holds ``config.json`` beside ``model.safetensors``.

    ``None`` when the distribution is not installed or carries no such folder.
    """
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == "model.safetensors":
            folder = Path(str(file.locate())).resolve().parent
            if (folder / "config.json").is_file():
                return folder
    return None
