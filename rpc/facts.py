"""What this machine is, as far as tuning cares."""

from __future__ import annotations

import functools
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from rpc import apple
from rpc.gpu import cuda_facts

THREADS_ENV = "TVM_NUM_THREADS"
BIND_ENV = "TVM_BIND_THREADS"
_ON_MAC = sys.platform == "darwin"


def physical_cores() -> int:
    """Cores without hyper-threading; on Apple silicon the performance cores."""
    performance = apple.performance_cores() if _ON_MAC else None
    return performance or psutil.cpu_count(logical=False) or psutil.cpu_count() or 1


def thread_env(threads: int) -> dict[str, str]:
    """Environment of a process in which TVM computes on this many threads, which it does not bind to cores.

    TVM would bind each worker, but not the thread that calls: where that lands on a worker's core, both share it, and
    kernels take twice as long. Devices bind both themselves: ``rpc.cores``.
    """
    return {THREADS_ENV: str(threads), BIND_ENV: "0"}


@functools.cache
def device_facts() -> dict[str, Any]:
    """CPU, cores, caches, memory, OS and TVM of this machine, of a Mac its GPU too, as a JSON-ready dict.

    Units are in the names; ``mcpu`` and ``mtriple`` are LLVM's names, ready for a TVM target; ``cuda`` is there when
    such a GPU is.
    """
    import tvm.base  # noqa: F401  LLVM is in its libraries
    from tvm_ffi import get_global_func

    cuda = cuda_facts()
    return {
        "cpu": cpu_model(),
        "mcpu": str(get_global_func("target.llvm_get_system_cpu")()),
        "mtriple": str(get_global_func("target.llvm_get_system_triple")()),
        "cores": physical_cores(),
        "logical_cores": psutil.cpu_count() or 1,
        "threads": int(os.environ.get(THREADS_ENV, "0")) or physical_cores(),
        "cache_bytes": _cache_bytes(),
        "memory_bytes": psutil.virtual_memory().total,
        "os": apple.os_name() if _ON_MAC else f"{platform.system()} {platform.release()}",
        "arch": platform.machine(),
        "hostname": platform.node(),
        "tvm": metadata.version("apache-tvm"),
        "python": platform.python_version(),
        **({"cuda": cuda} if cuda else {}),
        **(apple.gpu_facts() if _ON_MAC else {}),
    }


def cpu_model() -> str:
    """The processor's name as its maker writes it."""
    if _ON_MAC:
        return apple.sysctl("machdep.cpu.brand_string") or platform.processor()
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _cache_bytes() -> dict[str, int]:
    """Size of each level as one core sees it: ``{"l1d": ..., "l2": ..., "l3": ...}``."""
    if _ON_MAC:
        names = {"l1d": "hw.perflevel0.l1dcachesize", "l2": "hw.perflevel0.l2cachesize"}
        return {level: int(value) for level, name in names.items() if (value := apple.sysctl(name)).isdigit()}
    sizes = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, size = _read(index / "type").strip(), _read(index / "size").strip()
        if kind in ("Data", "Unified") and size.endswith("K"):
            sizes[f"l{_read(index / 'level').strip()}{'d' if kind == 'Data' else ''}"] = int(size[:-1]) * 1024
    return sizes


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
