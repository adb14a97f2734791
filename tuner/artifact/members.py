"""Where an artifact's members lie: they are read in place, weights are never unpacked to disk."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np

Place = tuple[Path, int, int]  # of a member: (file, offset, size in bytes)


class ArtifactError(RuntimeError):
    """The artifact is damaged or made for another machine."""


def locate(path: Path) -> dict[str, Place]:
    """The members of a tar or a folder by name. Raises ArtifactError when it is neither."""
    if path.is_dir():
        return {p.name: (p, 0, p.stat().st_size) for p in path.iterdir() if p.is_file()}
    try:
        with tarfile.open(path, "r:") as tar:
            return {m.name: (path, m.offset_data, m.size) for m in tar if m.isfile()}
    except (tarfile.TarError, OSError, ValueError, ArithmeticError) as error:
        raise ArtifactError(f"{path} can't be read as an artifact: {error}.") from None


def view(place: Place) -> np.ndarray:
    """A member's bytes, mapped. Raises ArtifactError when the file ends before."""
    file, offset, size = place
    try:
        return np.memmap(file, np.uint8, "r", offset, (size,)) if size else np.empty(0, np.uint8)
    except (ValueError, OSError, ArithmeticError) as error:
        raise ArtifactError(f"{file} is cut short: {error}. Download it again.") from None
