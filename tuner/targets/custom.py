"""Targets that users write as JSON: what can be refused without TVM is refused here, with what is right instead.

TVM takes options that set LLVM's own flags, which may write files; and what a target says becomes part of the family
that records are filed under. So nothing passes that is not known.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from tuner import strict_json
from tuner.errors import TargetUnknown
from tuner.targets import blas, llvm_names, triples

MAX_CORES = 1024
_LIMITS = {
    "max_threads_per_block": "threads in a threadgroup",
    "max_num_threads": "threads in a threadgroup",
    "max_shared_memory_per_block": "bytes of threadgroup memory",
    "max_function_args": "arguments of a kernel",
}
_OF_CPU = ("kind", "mtriple", "mcpu", "mattr", "num-cores", "keys", "tag", "mabi", "mfloat-abi", "libs")
_OF_GPU = ("kind", "host", "keys", "tag", "thread_warp_size", *_LIMITS)
_WORD = re.compile(r"[A-Za-z0-9_.-]{0,64}")
_METAL_HOST = 'Give it "host": {"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": "apple-m1"}.'
_OPTIONS = "See TVM's target options."


def parse(text: str) -> dict[str, Any]:
    """A TVM target of a kind that can be tuned for. Raises TargetUnknown for everything else."""
    try:
        tvm: dict[str, Any] = strict_json.parse(text)
    except ValueError as exc:
        raise TargetUnknown(f"The target is not JSON: {exc}.", 'Write it as {"kind": "llvm", "mcpu": "..."}.') from exc
    kind = tvm.get("kind") if isinstance(tvm, dict) else None
    if kind not in ("llvm", "metal"):
        raise TargetUnknown(
            f"Targets of kind {kind!r} can't be tuned.", 'Use {"kind": "llvm", ...}, {"kind": "metal", ...} or "local".'
        )
    host = tvm.get("host", {})
    if not isinstance(host, dict) or (host and host.get("kind") != "llvm"):
        raise TargetUnknown("The target's host must be a target of kind llvm.", _METAL_HOST)
    _check_options(tvm, _OF_CPU if kind == "llvm" else _OF_GPU)
    _check_options(host, _OF_CPU)
    if kind == "metal" and (triples.architecture(tvm), triples.system(tvm)) != ("aarch64", "macos"):
        raise TargetUnknown(
            f"Metal runs on Apple hosts only; this target's host is {triples.host_triple(tvm)}.", _METAL_HOST
        )
    return tvm


def check(tvm: dict[str, Any], chip: Mapping[str, Any]) -> dict[str, Any]:
    """The target with the limits of ``chip``, the known target most like it, where it gives none.

    Raises TargetUnknown for an mcpu or a feature that LLVM does not know and for limits beyond the chip's.
    """
    architecture, host = triples.architecture(tvm), triples.host_of(tvm)
    _check_mcpu(architecture, host.get("mcpu"))
    _check_features(architecture, host.get("mattr", []))
    if tvm["kind"] == "llvm":
        return tvm
    for name, what in _LIMITS.items():
        given, most = tvm.get(name, chip[name]), chip[name]
        if not _is_count(given, most):
            raise TargetUnknown(f"{name} is {given!r}, but this GPU has at most {most} {what}.", f"Use 1 to {most}.")
    width = chip["thread_warp_size"]
    if tvm.get("thread_warp_size", width) != width:
        raise TargetUnknown(
            f"thread_warp_size is {tvm['thread_warp_size']!r}, but a simdgroup of this GPU has {width} threads.",
            f"Use {width}, or leave it out.",
        )
    threads = tvm.get("max_threads_per_block")
    smaller = {} if threads is None else {"max_num_threads": threads}
    return {**chip, **smaller, **tvm}


def _check_options(tvm: dict[str, Any], allowed: tuple[str, ...]) -> None:
    """Only options that are known here, each of its form."""
    others = sorted(tvm.keys() - set(allowed))
    if others:
        raise TargetUnknown(f"The target has {', '.join(others)}.", f"Give it only {', '.join(allowed)}.")
    for name in ("mtriple", "mcpu", "mabi", "mfloat-abi", "tag"):
        value = tvm.get(name, "")
        if not isinstance(value, str) or not _WORD.fullmatch(value):
            raise TargetUnknown(f"The target's {name} is {value!r}, no name.", _OPTIONS)
    for name in ("mattr", "keys"):
        values = tvm.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise TargetUnknown(f"The target's {name} must be a list of names.", _OPTIONS)
    if not all(_WORD.fullmatch(key) for key in tvm.get("keys", [])):
        raise TargetUnknown("The target's keys must be names.", _OPTIONS)
    if why := blas.refusal(tvm):
        raise TargetUnknown(why, 'Leave libs out, or give ["accelerate"] to a Mac.')
    if not _is_count(tvm.get("num-cores", 1), MAX_CORES):
        raise TargetUnknown(f"num-cores is {tvm['num-cores']!r}.", f"Use 1 to {MAX_CORES}.")


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _check_mcpu(architecture: str, mcpu: str | None) -> None:
    cpus = llvm_names.cpus(architecture)
    if mcpu is not None and mcpu not in cpus:
        raise TargetUnknown(
            f"LLVM knows no mcpu {mcpu!r} for {architecture}.", _nearest(mcpu, cpus, "Leave mcpu out, or use local.")
        )


def _check_features(architecture: str, mattr: list[str]) -> None:
    known = llvm_names.features(architecture)
    for feature in mattr:
        if feature[:1] not in ("+", "-") or feature[1:] not in known:
            near = _nearest(feature.lstrip("+-"), known, "Leave it out.")
            raise TargetUnknown(
                f"LLVM knows no feature {feature!r} for {architecture}.", f"Write +name or -name. {near}"
            )


def _nearest(name: str, names: list[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else otherwise
