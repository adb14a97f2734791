"""Freeing what is left in reference cycles, at a moment when nobody waits."""

from __future__ import annotations

import functools
import gc


def collect() -> None:
    """Free all garbage now, in milliseconds, and in a third of a second the first time in a process.

    An ended search is a few thousand Python objects in cycles that keep many MB of TVM's alive. Python looks for old
    garbage once a quarter of all objects is new: with TVM and PyTorch loaded, every 160,000 objects or some 15 jobs
    of 250 trials, 300 MB later. So it is told when. What is alive after a process's first stage, nearly all of it the
    libraries', is set aside and looked at no more. So is what web and coordinator have loaded when they begin: a look
    at all of it amid a request, or at a round's end, takes a tenth of a second.
    """
    gc.collect()
    _set_aside()


@functools.cache
def _set_aside() -> None:
    gc.freeze()
