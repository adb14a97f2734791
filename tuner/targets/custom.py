"""Targets that users write as JSON: what can be refused without TVM is refused here, with what is right instead."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from tuner.errors import TargetUnknown
from tuner.targets import triples

_LIMITS = {
    "max_threads_per_block": "threads in a threadgroup",
    "max_num_threads": "threads in a threadgroup",
    "max_shared_memory_per_block": "bytes of threadgroup memory",
    "max_function_args": "arguments of a kernel",
}


def parse(text: str) -> dict[str, Any]:
    """A TVM target of a kind that can be tuned for. Raises TargetUnknown for everything else."""
    try:
        tvm: dict[str, Any] = json.loads(text)
    except ValueError as exc:
        raise TargetUnknown(f"The target is not JSON: {exc}.", 'Write it as {"kind": "llvm", "mcpu": "..."}.') from exc
    kind = tvm.get("kind")
    if kind not in ("llvm", "metal"):
        raise TargetUnknown(
            f"Targets of kind {kind!r} can't be tuned.", 'Use {"kind": "llvm", ...}, {"kind": "metal", ...} or "local".'
        )
    host = tvm.get("host", {})
    if not isinstance(host, dict) or (host and host.get("kind") != "llvm"):
        raise TargetUnknown("The target's host must be a target of kind llvm.", _METAL_HOST)
    for part in (tvm, host):
        if not isinstance(part.get("mattr", []), list) or not isinstance(part.get("mtriple", ""), str):
            raise TargetUnknown("The target's mattr must be a list and its mtriple text.", "See TVM's target options.")
    if kind == "metal" and (triples.architecture(tvm), triples.system(tvm)) != ("aarch64", "macos"):
        raise TargetUnknown(
            f"Metal runs on Apple hosts only; this target's host is {triples.host_triple(tvm)}.", _METAL_HOST
        )
    return tvm


def check(tvm: dict[str, Any], chip: Mapping[str, Any]) -> dict[str, Any]:
    """The target with the limits of ``chip``, the known target most like it, where it gives none.

    Raises TargetUnknown for an mcpu that LLVM does not know and for limits beyond the chip's.
    """
    _check_mcpu(triples.architecture(tvm), triples.host_of(tvm).get("mcpu"))
    if tvm["kind"] == "llvm":
        return tvm
    for name, what in _LIMITS.items():
        given, most = tvm.get(name, chip[name]), chip[name]
        if not isinstance(given, int) or not 1 <= given <= most:
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


@cache
def llvm_cpus() -> dict[str, list[str]]:
    """CPU names LLVM knows, by architecture (written by tools/llvm_cpus.py)."""
    cpus: dict[str, list[str]] = json.loads(resources.files("tuner.data").joinpath("llvm_cpus.json").read_text())
    return cpus


_METAL_HOST = 'Give it "host": {"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": "apple-m1"}.'


def _check_mcpu(architecture: str, mcpu: Any) -> None:
    cpus = llvm_cpus().get(architecture, [])
    if mcpu is None or mcpu in cpus:
        return
    near = difflib.get_close_matches(str(mcpu), cpus, n=3, cutoff=0.5)
    raise TargetUnknown(
        f"LLVM knows no mcpu {mcpu!r} for {architecture}.",
        f"Did you mean {' or '.join(near)}?" if near else "Leave mcpu out, or use local.",
    )
