"""What a record's trace may consist of: the instructions that schedules of ours are made of. Pure, no TVM.

TVM applies a trace without a look: a null or a decision for an instruction that is not there ends the process, an
annotation can link foreign code into the library. So nothing gets to it that is not in these lists. That what is listed
can be done to a kernel, and ends, is for a process to see that may die of it (``tuner.measuring.vetting``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

MAX_INSTRUCTIONS = 5_000
_MAX_NUMBER = 2**31
_MAX_LIST = 1_000

_RESULT = re.compile(r"[blv]\d{1,6}")
_NAME = re.compile(r"[\w.]{1,300}")
_AXES = frozenset({*(f"{kind}.{axis}" for kind in ("blockIdx", "threadIdx", "vthread") for axis in "xyz"), "vthread"})
_SCOPES = frozenset({"global", "shared", "local"})
_MARKS = frozenset(
    {
        "pragma_auto_unroll_max_step",
        "pragma_unroll_explicit",
        "tunesmith.prefetch",
        "meta_schedule.cooperative_fetch",
        "meta_schedule.inline_rule",
        "meta_schedule.parallel",
        "meta_schedule.random_compute_producer",
        "meta_schedule.thread_extent_high_inclusive",
        "meta_schedule.thread_extent_low_inclusive",
        "meta_schedule.tiling_structure",
        "meta_schedule.unroll_explicit",
        "meta_schedule.unroll_implicit",
        "meta_schedule.vectorize",
    }
)

_Attribute = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return type(value) in (int, bool, float) and abs(value) <= _MAX_NUMBER


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MAX_LIST and all(map(_is_number, value))


def _one_of(known: frozenset[str]) -> _Attribute:
    return lambda value: isinstance(value, str) and value in known


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


_INSTRUCTIONS: Mapping[str, tuple[_Attribute, ...]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "ComputeInline", "DecomposeReduction", "GetChildBlocks", "GetConsumers", "GetLoops", "GetOutputBlocks",
                "GetProducers", "Parallel", "Reorder", "ReverseComputeInline", "SampleComputeLocation", "Unroll",
                "Vectorize",
            ),
            (),
        ),
        "Annotate": (_one_of(_MARKS),),
        "Bind": (_one_of(_AXES),),
        "CacheRead": (_is_number, _one_of(_SCOPES)),
        "CacheWrite": (_is_number, _one_of(_SCOPES)),
        "ComputeAt": (_is_number, _is_number),
        "Fuse": (_is_number,),
        "GetSBlock": (_is_name, _is_name),
        "RFactor": (_is_number,),
        "ReverseComputeAt": (_is_number, _is_number),
        "SampleCategorical": (_is_numbers, _is_numbers),
        "SamplePerfectTile": (_is_number, _is_number),
        "SetScope": (_is_number, _one_of(_SCOPES)),
        "Split": (_is_number, _is_number),
        "Unannotate": (_one_of(_MARKS),),
    }
)  # fmt: skip


def check(trace: Any) -> None:
    """Raise ValueError when a trace, as ``Trace.as_json`` gives it, holds anything that is not listed here."""
    if not (isinstance(trace, list) and len(trace) == 2 and all(isinstance(part, list) for part in trace)):
        raise ValueError("the trace is damaged: it is no list of instructions and decisions")
    instructions, decisions = trace
    if len(instructions) > MAX_INSTRUCTIONS:
        raise ValueError(f"the trace has {len(instructions)} instructions, {MAX_INSTRUCTIONS} are allowed")
    known: set[str] = set()
    for instruction in instructions:
        known.update(_results(instruction, known))
    _check_decisions(instructions, decisions)


def _results(instruction: Any, known: set[str]) -> Iterator[str]:
    """The names that an instruction gives to what it makes, once it is found to be listed."""
    if not (isinstance(instruction, list) and len(instruction) == 4 and isinstance(instruction[0], str)):
        raise ValueError("the trace is damaged: it holds what is no instruction")
    kind, inputs, attributes, results = instruction
    allowed = _INSTRUCTIONS.get(kind)
    if allowed is None:
        raise ValueError(f"the trace has the instruction {kind[:60]!r}")
    if not all(isinstance(part, list) and len(part) <= _MAX_LIST for part in (inputs, attributes, results)):
        raise ValueError(f"the trace is damaged: {kind} lacks its lists")
    if len(attributes) != len(allowed) or not all(is_fit(one) for is_fit, one in zip(allowed, attributes, strict=True)):
        raise ValueError(f"the trace has {kind} of {str(attributes)[:80]}")
    if not all(_is_input(one, known) for one in inputs):
        raise ValueError(f"the trace has {kind} of what is not there before")
    for name in results:
        if not (isinstance(name, str) and _RESULT.fullmatch(name) and name not in known):
            raise ValueError(f"the trace is damaged: {kind} gives what it can not")
        yield name


def _is_input(value: Any, known: set[str]) -> bool:
    if isinstance(value, str):
        return value in known or value == "None" or (value[:1] == value[-1:] == '"' and _is_name(value[1:-1]))
    if isinstance(value, list):
        return len(value) <= _MAX_LIST and all(
            _is_number(one) or (isinstance(one, str) and one in known) for one in value
        )
    return _is_number(value)


def _check_decisions(instructions: list[Any], decisions: list[Any]) -> None:
    """Each instruction that samples has one decision, and no other any: without, it would be another each time."""
    decided = []
    for decision in decisions:
        if not (isinstance(decision, list) and len(decision) == 2 and type(decision[0]) is int):
            raise ValueError("the trace is damaged: it holds what is no decision")
        number, value = decision
        if not (_is_number(value) or _is_numbers(value)):
            raise ValueError("the trace is damaged: a decision is no number")
        decided.append(number)
    sampling = [number for number, one in enumerate(instructions) if one[0].startswith("Sample")]
    if sorted(decided) != sampling:
        raise ValueError("the trace is damaged: its decisions are not those of its instructions")
