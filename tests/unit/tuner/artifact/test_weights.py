"""Parameters of an artifact in memory: what is read, where it lies, and that it is there once."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.support.memory import resident_bytes
from tuner.artifact.members import ArtifactError
from tuner.artifact.weights import read_weights

ARRAYS = {
    "p0": np.arange(5 << 20, dtype=np.int32).reshape(5, -1).view(np.float32),  # several parts
    "p1": np.array([1, -2, 3], np.int64),
    "p2": np.array([True, False]),
    "p3": np.zeros((0, 4), np.float16),
    "p4": np.arange(-6, 6, dtype=np.int16).reshape(3, 4),  # bytes in pairs, for kernels by AVX2
}


def written(folder: Path, before: bytes = b"") -> tuple[Path, int, int]:
    """The arrays as a member that lies behind ``before``."""
    save_file(ARRAYS, folder / "alone")
    content = (folder / "alone").read_bytes()
    (folder / "member").write_bytes(before + content + b"next member")
    return folder / "member", len(before), len(content)


def test_arrays_and_their_hash_are_those_of_the_file(tmp_path: Path) -> None:
    weights = read_weights(written(tmp_path, b"member before"))
    assert weights.sha256 == hashlib.sha256((tmp_path / "alone").read_bytes()).hexdigest()
    found = weights.arrays()
    assert found.keys() == ARRAYS.keys()
    for name, wanted in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (wanted.dtype, wanted.shape)
        assert found[name].tobytes() == wanted.tobytes()


def test_weights_begin_where_a_huge_page_does(tmp_path: Path) -> None:
    assert read_weights(written(tmp_path)).data.ctypes.data % (2 << 20) == 0


def test_file_that_ends_amid_the_weights_is_refused(tmp_path: Path) -> None:
    file, offset, size = written(tmp_path)
    with pytest.raises(ArtifactError, match="member is cut short"):
        read_weights((file, offset, size + 100))


@pytest.mark.parametrize("content", [b"", b"\x02", b"\xff" * 8, b"\xff" * 8 + b"{}"])
def test_header_beyond_the_file_is_hashed_like_any_other(tmp_path: Path, content: bytes) -> None:
    """The checksum says what is wrong, before anything is made of it."""
    (tmp_path / "member").write_bytes(content)
    weights = read_weights((tmp_path / "member", 0, len(content)))
    assert weights.sha256 == hashlib.sha256(content).hexdigest()
    assert not weights.data.size


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of memory")
def test_weights_are_held_once(tmp_path: Path) -> None:
    place, before = written(tmp_path), resident_bytes()
    weights = read_weights(place)
    assert resident_bytes() - before < 1.5 * weights.data.nbytes
