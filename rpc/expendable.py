"""Who goes first when memory runs out."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

_FIRST = 500  # of 1000, in linux/oom.h: before what the user runs, and before the rest of the service


def go_first() -> None:
    """Let the kernel end this process, and what it starts, before others; all of it can be done again.

    Only Linux can be told; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # no /proc, or one that may not be written
            Path("/proc/self/oom_score_adj").write_text(str(_FIRST))
