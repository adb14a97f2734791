"""One kernel of a job as text, made here by a process that may load TVM, and die of what others wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, cast

from rpc.lean import importing, without_torch
from tuner.apart import Limits, answered
from tuner.cli.common import console, notes, settings_with
from tuner.cli.quietly import quiet
from tuner.client.http import Client
from tuner.errors import InvalidInput, StageFailed
from tuner.schemas import JobOut, JobWorkloadOut, KernelOut
from tuner.schemas.common import Head

Form = Literal["tir", "schedule", "code", "asm"]
GraphForm = Literal["text", "dot", "mermaid"]

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


def print_graph(client: Client, job: JobOut, kernel: KernelOut, form: GraphForm) -> None:
    """Prints the graph around a kernel, of the model as it is imported here."""
    with importing(), without_torch():  # TVM for who runs this alone, PyTorch once a model is imported
        from rpc.facts import device_facts
        from tuner.graph.surroundings import told
        from tuner.importers.source import resolve_source
        from tuner.jobs.looking import surroundings
        from tuner.jobs.standalone import Order
        from tuner.kernels.precision import precision_of
        from tuner.kernels.workload import module_from_json
        from tuner.targets import presets

    settings = settings_with()
    head = next((one.head for one in client.models(500).items if one.id == job.model_id), "")
    target = replace(presets.resolve("local", settings.device_key, device_facts()), tvm=kernel.target)
    batch, seq_len = (None, None) if job.lengths else (job.batch, job.seq_len)
    precision = precision_of(module_from_json(kernel.tir)["main"])
    order = Order(resolve_source(job.model, head=cast(Head, head) or None), target, batch, seq_len, precision)

    def say(line: str) -> None:
        notes.print(line, highlight=False)

    with quiet(settings, say):
        found = surroundings(settings, order, kernel.workload_id, say)
    console.out(told(found, form), highlight=False)


def _only(found: Sequence[JobWorkloadOut], name: str) -> JobWorkloadOut:
    called = [one for one in found if name in (one.name, one.workload_id)]
    if not called:
        known = ", ".join(dict.fromkeys(one.name for one in found)) or "none yet"
        raise InvalidInput(f"There is no kernel {name!r}.", f"There are {known}.")
    if len(called) > 1:
        ids = ", ".join(f"{one.workload_id} ({one.summary})" for one in called)
        raise InvalidInput(f"{len(called)} kernels are called {name}.", f"Name one by its id: {ids}.")
    return called[0]
