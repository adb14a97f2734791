"""One benchmark: its contestants loaded, compared and timed, in a process that nobody else works in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
import tvm.rpc

from rpc.facts import device_facts
from tuner.bench.compare import interleave
from tuner.bench.compiled import compiled_call
from tuner.bench.judge import judge
from tuner.bench.operator import operator_calls
from tuner.bench.outputs import checked
from tuner.bench.peers import peer, torch_call
from tuner.bench.spec import Result, Spec, Timing, Variant
from tuner.bench.texts import of_one, text_calls, texts_in_a_call
from tuner.importers.model_file import is_program
from tuner.importers.reference import reference_outputs, sample_inputs
from tuner.importers.snapshot import Fetched
from tuner.importers.source import check_seq_len
from tuner.importers.wrapper import variant
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
    with torch.inference_mode():
        calls: Mapping[str, Callable[[], Any]]
        errors: dict[str, float] = {}
        judged: dict[str, dict[str, float]] = {}
        if spec.source.source == "operator":
            weights = str(spec.source.weights)
            calls = operator_calls(spec, fetched)
        elif is_program(fetched.folder):
            from tuner.bench.program import program_calls  # seconds, as those of _model_calls

            weights = str(spec.source.weights)
            calls, errors = program_calls(spec, fetched)
        else:
            weights, calls, errors, judged = _model_calls(spec, fetched)
        watch = Watch(tvm.rpc.LocalSession(), spec.canary)

        def after_round(done: int, total: int) -> None:
            watch.look()
            _print_progress(done, total)

        stats = interleave(calls, spec.rounds, spec.per_round, spec.warmup_sec, spec.max_sec, spec.seed, after_round)
    return Result(
        threads=spec.threads,
        machine=device_facts()["cpu"],
        weights=weights,
        timings=[of_one(Timing(variant=name, **stats[name].as_dict()), texts_in_a_call(spec)) for name in calls],
        max_abs_errors=errors,
        fidelity=judged,
        canary_us=watch.typical_us,
    )


Calls = Mapping[str, Callable[[], Any]]


def _model_calls(spec: Spec, fetched: Fetched) -> tuple[str, Calls, dict[str, float], dict[str, dict[str, float]]]:
    """The model's weights, its variants, how far each one's outputs are from the reference, and on sentences."""
    from tuner.importers.huggingface import load_torch  # seconds, of which an operator's benchmark knows nothing

    loaded = load_torch(fetched, spec.seed)
    if spec.lengths:
        return loaded.weights, *text_calls(spec, loaded), {}
    check_seq_len(spec.source.name, loaded.source.max_seq_len, spec.seq_len)
    inputs = sample_inputs(loaded, spec.batch, spec.seq_len)[0]
    calls = {entry.name: _callable(entry, loaded, inputs, spec.threads) for entry in spec.variants}
    reference = reference_outputs(loaded, inputs)
    errors = {
        entry.name: checked(entry.name, calls[entry.name](), reference, entry.precision).max_abs_error
        for entry in spec.variants
    }
    return loaded.weights, calls, errors, judge(spec, loaded, calls) if spec.judged else {}


def _callable(entry: Variant, loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Callable[..., Any]:
    if entry.kind == "tvm":
        return compiled_call(entry, inputs)
    if entry.kind == "torch-eager" or entry.kind == "torch-sdpa":
        return torch_call(variant(loaded, "eager" if entry.kind == "torch-eager" else "sdpa"), loaded, inputs)
    return peer(entry.kind, loaded, inputs, threads)


def _print_progress(done: int, total: int) -> None:
    print(f"progress {done} {total}", flush=True)
