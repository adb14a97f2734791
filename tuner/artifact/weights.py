"""An artifact's parameters: read once, to where kernels like them to be, and hashed meanwhile."""

from __future__ import annotations

import hashlib
import json
import mmap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tuner.artifact.members import ArtifactError, Place

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "?",
}
_HUGE_PAGE = 2 << 20  # bytes
_PART = 4 << 20  # bytes that are read while those before are hashed


@dataclass(frozen=True)
class Weights:
    """A safetensors file in memory: its JSON header, the bytes of all arrays, and the SHA-256 of the whole."""

    header: bytes
    data: np.ndarray
    sha256: str

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays by name, views of the data: the header tells of each dtype, shape and place."""
        described = json.loads(self.header)
        described.pop("__metadata__", None)
        found = {}
        for name, entry in described.items():
            begin, end = entry["data_offsets"]
            found[name] = self.data[begin:end].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
        return found


def read_weights(place: Place) -> Weights:
    """Read a safetensors file: 8 bytes of its header's length, the header, the data. Raises ArtifactError when it ends
    before."""
    file, offset, size = place
    digest = hashlib.sha256()
    try:
        with file.open("rb", buffering=0) as source, ThreadPoolExecutor(1) as beside:
            source.seek(offset)
            length = source.read(min(8, size))
            header = source.read(min(int.from_bytes(length, "little"), size - len(length)))
            digest.update(length + header)
            data = _huge_pages(size - len(length) - len(header))
            for first in range(0, len(data), _PART):
                part = data[first : first + _PART]
                if source.readinto(part.data) != len(part):
                    raise ArtifactError(f"{file} is cut short: it ends amid the weights. Download it again.")
                beside.submit(digest.update, part.data)
    except OSError as error:
        raise ArtifactError(f"{file} can't be read: {error}.") from None
    return Weights(header, data, digest.hexdigest())


def _huge_pages(size: int) -> np.ndarray:
    """So many bytes from the beginning of a huge page on: prefetchers run further there, fewer pages are looked up."""
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    pages = mmap.mmap(-1, size + _HUGE_PAGE, **private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    memory = np.frombuffer(pages, np.uint8)
    start = -memory.ctypes.data % _HUGE_PAGE
    return memory[start : start + size]
