"""Who goes first when memory runs out."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

# As Python, C++, LLVM, PyTorch and the loader of libraries say it.
_SHORT_OF_MEMORY = ("MemoryError", "bad_alloc", "out of memory", "allocate memory", "failed to map segment")
_FIRST = 500  # of 1000, in linux/oom.h: before what the user runs, and before the rest of the service


def go_first() -> None:
    """Let the kernel end this process, and what it starts, before others; all of it can be done again.

    Only Linux can be told; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # no /proc, or one that may not be written
            Path("/proc/self/oom_score_adj").write_text(str(_FIRST))


def limit_memory(size_bytes: int) -> None:
    """No more than this for what the process writes to; where the system has no such limit there is none."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (size_bytes, size_bytes))


def is_short_of_memory(failure: BaseException) -> bool:
    """Does it say, in its last line, that there is no more?"""
    said = f"{type(failure).__name__}: {str(failure).strip().rpartition(chr(10))[2]}"
    return isinstance(failure, MemoryError) or any(word in said for word in _SHORT_OF_MEMORY)
