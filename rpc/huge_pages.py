"""Memory in huge pages, as an artifact's loader has its weights: prefetchers run further there than in small ones."""

from __future__ import annotations

import ctypes
import mmap

ASK = "tunesmith.ask_for_huge_pages"  # a device's function that takes an array
SIZE = 2 << 20  # bytes


def ask(address: int, size_bytes: int) -> None:
    """Ask the system for huge pages wherever whole ones fit; it decides. Nothing happens on others than Linux."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    first = -(-address // SIZE) * SIZE
    if (end := (address + size_bytes) // SIZE * SIZE) > first:
        madvise = ctypes.CDLL(None).madvise
        madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), ctypes.c_int(mmap.MADV_HUGEPAGE))
