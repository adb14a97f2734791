"""One benchmark: its contestants loaded, compared and timed, in a process that nobody else works in."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import tvm.rpc

from rpc.facts import device_facts
from rpc.lean import importing, importing_transformers
from tuner.bench.compare import interleave
from tuner.bench.compiled import compiled_call
from tuner.bench.contestant import Contestant, contestants
from tuner.bench.field import Field
from tuner.bench.judge import judge
from tuner.bench.operator import operator_calls
from tuner.bench.peers import peer
from tuner.bench.rivals import settled
from tuner.bench.spec import Result, Spec, Timing, Variant
from tuner.bench.task import Task
from tuner.bench.texts import enter_texts, texts_in_a_call
from tuner.errors import StageFailed
from tuner.importers.model_file import is_program
from tuner.importers.reference import reference_outputs, sample_inputs
from tuner.importers.snapshot import Fetched
from tuner.importers.source import check_seq_len
from tuner.measuring.canary import Watch

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel


def run(spec: Spec) -> Result:
    """Load every variant, run them interleaved on one input, and summarise.

    A model's input is full-length text, and the outputs of its variants are checked first; an operator's is seeded
    numbers, and what the variants make of them is not compared. Prints a line ``progress DONE TOTAL`` after each round.
    """
    torch.set_num_threads(spec.threads)
    fetched = Fetched(spec.source, spec.folder)
    with torch.inference_mode(), tempfile.TemporaryDirectory() as scratch, contestants() as start:
        field = Field(spec, start, Path(scratch))
        judged: dict[str, dict[str, float]] = {}
        weights = str(spec.source.weights)
        if spec.source.source == "operator":
            field.entrants.update(operator_calls(spec, fetched))
        elif is_program(fetched.folder):
            with importing():
                from tuner.bench.program import enter_program  # seconds, as those of _enter_model

            enter_program(field, fetched)
        else:
            weights, judged = _enter_model(field, fetched)
        watch = Watch(tvm.rpc.LocalSession(), spec.canary)

        def after_round(done: int, total: int) -> None:
            watch.look()
            _print_progress(done, total)

        compiled = [one.name for one in spec.variants if one.kind == "tvm"]
        stats = interleave(
            field.entrants,
            *(spec.rounds, spec.per_round, spec.warmup_sec, spec.max_sec, spec.seed),
            progress=after_round,
            settled=partial(settled, wanted=compiled) if spec.may_settle else None,
            lost=field.lose,
        )
        costs = _costs(field, list(stats))
    return Result(
        threads=spec.threads,
        machine=device_facts()["cpu"],
        weights=weights,
        timings=[
            Timing(variant=entry.name, **stats[entry.name].each_of(texts_in_a_call(spec)).as_dict()).model_copy(
                update={"precision": field.computes_in(entry)} | costs.get(entry.name, {})
            )
            for entry in spec.variants
            if entry.name in stats and entry.name not in field.absent
        ],
        max_abs_errors=field.errors,
        absent=field.absent,
        fidelity=judged,
        canary_us=watch.typical_us,
    )


def _enter_model(field: Field, fetched: Fetched) -> tuple[str, dict[str, dict[str, float]]]:
    """Let variants of an encoder take part; the model's weights, and how near each is to float32 on sentences."""
    with importing_transformers():
        from tuner.importers.huggingface import load_torch  # seconds, of which an operator's benchmark knows nothing

    spec = field.spec
    loaded = load_torch(fetched, spec.seed)
    if spec.lengths:
        enter_texts(field, loaded)
        return loaded.weights, {}
    check_seq_len(spec.source.name, loaded.source.max_seq_len, spec.seq_len)
    inputs = sample_inputs(loaded, spec.batch, spec.seq_len)[0]
    task = Task(field.scratch / "inputs.npz", [inputs], loaded.input_names, loaded.output_names)
    reference = reference_outputs(loaded, inputs)
    field.admit(lambda entry: _callable(entry, loaded, inputs, field), task, reference)
    return loaded.weights, judge(field, loaded) if spec.judged else {}


def _callable(entry: Variant, loaded: LoadedModel, inputs: dict[str, Any], field: Field) -> Callable[..., Any]:
    if entry.kind == "tvm":
        return compiled_call(entry, inputs)
    return peer(entry.kind, loaded, inputs, field.spec.threads, field.spec.graphs or field.scratch)


def _costs(field: Field, names: list[str]) -> dict[str, dict[str, Any]]:
    """By name, of those in processes of their own: what each costs before it is warm, after a rest of all, and in
    memory."""
    found: dict[str, dict[str, Any]] = {}
    ours = {name: one for name in names if isinstance(one := field.entrants[name], Contestant)}
    if ours:
        time.sleep(field.spec.idle_sec)
    for name, one in ours.items():
        try:
            after_idle_ms, memory_bytes = one.first_again_ms(), one.memory_bytes()
        except StageFailed as failure:
            field.lose(name, failure)
            continue
        found[name] = {
            "load_ms": one.load_ms,
            "first_ms": one.first_ms,
            "after_idle_ms": after_idle_ms,
            "memory_bytes": memory_bytes,
        }
    return found


def _print_progress(done: int, total: int) -> None:
    print(f"progress {done} {total}", flush=True)
