"""Which core each thread of a measurement computes on."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

_TOPOLOGY = Path("/sys/devices/system/cpu")


def pin_threads() -> None:
    """Start TVM's thread pool and bind each of its threads, the calling one too, to a core of its own.

    Left to Linux, a worker can share the caller's core for many milliseconds while another core idles: it waits by
    yielding, so nothing looks overloaded. Every kernel timed meanwhile takes twice as long. Does nothing where Linux
    is not, or where the pool does not take every core that the process may use: others may want those, and a fixed
    choice could meet theirs.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    from tvm_ffi import get_global_func

    before = _threads()
    get_global_func("runtime.NumThreads")()  # starts the pool of the calling thread, which is its first worker
    pool = [0, *sorted(_threads() - before)]
    cores = one_cpu_a_core(os.sched_getaffinity(0))
    if len(pool) == len(cores):
        for thread, cpu in zip(pool, cores, strict=True):
            os.sched_setaffinity(thread, {cpu})


def one_cpu_a_core(cpus: Collection[int], topology: Path = _TOPOLOGY) -> list[int]:
    """The lowest of these CPUs on each physical core, in order; all of them where the system does not tell."""
    cores: dict[str, int] = {}
    for cpu in sorted(cpus):
        siblings = topology / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        cores.setdefault(siblings.read_text().strip() if siblings.exists() else str(cpu), cpu)
    return list(cores.values())


def _threads() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}
