"""Libraries of linear algebra that a device brings, and that kernels may call: loaded before the kernels are."""

from __future__ import annotations

import ctypes

ASK = "tunesmith.load_blas"  # a device's function that takes a name
# By the names that targets call them: Apple's, and what stands for it elsewhere.
LIBRARIES = {
    "accelerate": "/System/Library/Frameworks/Accelerate.framework/Accelerate",
    "openblas": "libopenblas.so.0",
}


def load_blas(name: str) -> None:
    """Load one for all that this process loads later, which finds its functions by their names.

    Raises OSError where the system has none, KeyError at a name that is not known.
    """
    ctypes.CDLL(LIBRARIES[name], mode=ctypes.RTLD_GLOBAL)
