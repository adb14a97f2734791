"""One kernel of a job as text, made here by a process that may load TVM, and die of what others wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tuner.apart import Limits, answered
from tuner.cli.common import console, notes, settings_with
from tuner.cli.quietly import quiet
from tuner.client.http import Client
from tuner.errors import InvalidInput, StageFailed
from tuner.schemas import JobWorkloadOut, KernelOut

Form = Literal["tir", "schedule", "code", "asm"]

_LIMITS = Limits(seconds=300.0, memory_bytes=4 * 2**30)


def kernel_named(client: Client, job_id: str, name: str) -> KernelOut:
    """The kernel of a job by its name or id. Raises InvalidInput when there is none, or several are called so."""
    return client.kernel(job_id, _only(client.workloads(job_id), name).workload_id)


def print_kernel(kernel: KernelOut, form: Form = "tir") -> None:
    """Prints a kernel; waits while this machine measures."""

    def blamed(end: str) -> StageFailed:
        return StageFailed(f"The kernel {kernel.name} could not be made again: {end}.", "Its record may be damaged.")

    with quiet(settings_with(), lambda line: notes.print(line, highlight=False)):
        text = answered("tuner.jobs.kernel_text_worker", (kernel.model_dump(), form), _LIMITS, blamed)
    if kernel.chosen:
        notes.print(f"{kernel.name} ({kernel.summary}), {kernel.chosen}", highlight=False, markup=False)
    console.out(text.rstrip("\n"), highlight=False)


def _only(found: Sequence[JobWorkloadOut], name: str) -> JobWorkloadOut:
    called = [one for one in found if name in (one.name, one.workload_id)]
    if not called:
        known = ", ".join(dict.fromkeys(one.name for one in found)) or "none yet"
        raise InvalidInput(f"There is no kernel {name!r}.", f"There are {known}.")
    if len(called) > 1:
        ids = ", ".join(f"{one.workload_id} ({one.summary})" for one in called)
        raise InvalidInput(f"{len(called)} kernels are called {name}.", f"Name one by its id: {ids}.")
    return called[0]
