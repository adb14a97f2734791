"""Targets: what a name means to TVM, which device measures it, which records it shares, how fast it can be. Pure data,
no TVM.

Peaks are cores x lanes x FLOPs a cycle x clock, as Apple and its chips' measurements give them:
M1 4 performance cores x 4 NEON units x 4 lanes x 2 x 3.2 GHz, 8 GPU cores x 128 lanes x 2 x 1.278 GHz, LPDDR4X-4266;
M2 the same units at 3.5 GHz, 10 GPU cores at 1.398 GHz, LPDDR5-6400; both on 128 bits of memory bus.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tuner import triples
from tuner.custom_target import check, parse
from tuner.errors import TargetUnknown
from tuner.roofline import Peak, peak_of

_M1 = {"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": "apple-m1"}
_M2 = {"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": "apple-m2"}
_APPLE_GPU = {
    "kind": "metal",
    "max_threads_per_block": 1024,
    "max_num_threads": 1024,
    "max_shared_memory_per_block": 32768,
    "thread_warp_size": 32,
    "max_function_args": 31,
}


@dataclass(frozen=True)
class Threadgroup:
    """What one threadgroup (CUDA: block) of a GPU may have."""

    max_threads: int
    memory_bytes: int
    simd_width: int


@dataclass(frozen=True)
class Target:
    """One target. ``family`` is the key its records are shared by (empty: its device was not seen yet), ``cores`` the
    performance cores kernels run on, ``peak`` what the chip does at most (measured here, computed elsewhere).
    """

    name: str
    description: str
    tvm: dict[str, Any]
    family: str
    device_key: str
    cores: int | None = None
    peak: Peak | None = None

    @property
    def peak_gflops(self) -> float | None:
        """GFLOPS, of single precision."""
        return self.peak.gflops if self.peak else None

    @property
    def bandwidth_gb_per_sec(self) -> float | None:
        """GB/s from memory."""
        return self.peak.gb_per_sec if self.peak else None

    @property
    def host_triple(self) -> str:
        """LLVM's triple of the CPU that runs it, or that drives its GPU."""
        return triples.host_triple(self.tvm)

    @property
    def suffix(self) -> str:
        """Its libraries': ``.so`` or ``.dylib``."""
        return triples.library_suffix(self.tvm)

    @property
    def threadgroup(self) -> Threadgroup | None:
        """A GPU's limits; None for a CPU."""
        if self.tvm["kind"] == "llvm":
            return None
        return Threadgroup(
            self.tvm["max_threads_per_block"], self.tvm["max_shared_memory_per_block"], self.tvm["thread_warp_size"]
        )


def _named(name: str, description: str, tvm: dict[str, Any], device_key: str = "", **speed: Any) -> Target:
    return Target(name, description, tvm, triples.family(tvm), device_key or name, **speed)


_FOREIGN = (
    _named(
        "m1-cpu",
        "Apple M1, its 4 performance cores",
        _M1 | {"num-cores": 4},
        cores=4,
        peak=Peak(410.0, 68.3),
    ),
    _named(
        "m1-metal",
        "Apple M1, its GPU (peak: 8 cores)",
        _APPLE_GPU | {"host": _M1},
        cores=4,
        peak=Peak(2617.0, 68.3),
    ),
    _named(
        "m1-metal-restricted",
        "Apple M1, its GPU, at most 256 threads in a threadgroup: for kernels that need many registers",
        _APPLE_GPU | {"max_threads_per_block": 256, "max_num_threads": 256, "host": _M1},
        "m1-metal",
        cores=4,
        peak=Peak(2617.0, 68.3),
    ),
    _named(
        "m2-cpu",
        "Apple M2, its 4 performance cores",
        _M2 | {"num-cores": 4},
        cores=4,
        peak=Peak(448.0, 102.4),
    ),
    _named(
        "m2-metal",
        "Apple M2, its GPU (peak: 10 cores)",
        _APPLE_GPU | {"host": _M2},
        cores=4,
        peak=Peak(3579.0, 102.4),
    ),
    _named(
        "linux-arm64",
        "64-bit ARM with Linux, whatever its make; four cores",
        {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "generic", "mattr": ["+neon"], "num-cores": 4},
        cores=4,
    ),
)


def known(device_key: str, facts: Mapping[str, Any] | None = None) -> list[Target]:
    """All named targets; ``facts`` are what the local device said of itself, if it was ever seen.

    ``cuda`` is among them when that device has such a GPU.
    """
    local = Target("local", "CPU of the machine the service runs on", {"kind": "llvm"}, "", device_key)
    if not facts:
        return [local, *_FOREIGN]
    local = localised(local, facts)
    return [local, *_cuda(local, facts), *_FOREIGN]


def resolve(name: str, device_key: str, facts: Mapping[str, Any] | None = None) -> Target:
    """The target of this name, or of a TVM target given as JSON text (``{"kind": "llvm", ...}``).

    Raises TargetUnknown naming the nearest names, also for an mcpu that LLVM does not know, for Metal without an Apple
    host and for limits beyond the chip's.
    """
    text = name.strip()
    targets = {target.name: target for target in known(device_key, facts)}
    if text.startswith("{"):
        return _custom(text, list(targets.values()))
    if text in targets:
        return targets[text]
    raise TargetUnknown(f"There is no target {text!r}.", _nearest(text, list(targets)))


def device_key_of(name: str, device_key: str) -> str:
    """The tracker key of the device for a target's name or JSON, also of one known only when its device was seen."""
    try:
        return resolve(name, device_key).device_key
    except TargetUnknown:
        return device_key


def computed_peak(name: str) -> Peak | None:
    """What the chip of a named target does at most, by its units and clock; None where that is not known."""
    return next((target.peak for target in _FOREIGN if target.name == name), None)


def localised(target: Target, facts: Mapping[str, Any]) -> Target:
    """The local target once its device said what it is: ``facts`` has LLVM's names, ``threads``, ``peak``."""
    tvm = {"kind": "llvm", "mtriple": facts["mtriple"], "mcpu": facts["mcpu"], "num-cores": facts["threads"]}
    return replace(target, tvm=tvm, family=triples.family(tvm), cores=facts["threads"], peak=peak_of(facts))


def _cuda(local: Target, facts: Mapping[str, Any]) -> list[Target]:
    gpu = facts.get("cuda")
    if not gpu:
        return []
    tvm = {
        "kind": "cuda",
        "arch": gpu["arch"],
        "max_threads_per_block": 1024,
        "max_shared_memory_per_block": 49152,
        "thread_warp_size": 32,
        "host": {key: value for key, value in local.tvm.items() if key != "num-cores"},
    }
    return [Target("cuda", gpu["name"], tvm, triples.family(tvm), local.device_key, local.cores)]


def _custom(text: str, targets: list[Target]) -> Target:
    """A target given as JSON: it runs on the device of the named target that is most like it."""
    tvm = parse(text)
    alike = [
        target
        for target in targets
        if target.tvm["kind"] == tvm["kind"]
        and triples.architecture(target.tvm) == triples.architecture(tvm)
        and triples.system(target.tvm) == triples.system(tvm)
    ]
    if not alike:
        machine = f"{triples.architecture(tvm)} {triples.system(tvm)}".strip()
        raise TargetUnknown(
            f"No device runs {tvm['kind']} on {machine}.",
            f"There are devices for {', '.join(target.name for target in targets)}.",
        )
    mcpu = triples.host_of(tvm).get("mcpu")
    same = [target for target in alike if triples.host_of(target.tvm).get("mcpu") == mcpu]
    like = (same or alike)[0]
    tvm = check(tvm, like.tvm)
    return Target(
        text,
        "TVM target given as JSON",
        tvm,
        triples.family(tvm),
        like.device_key,
        tvm.get("num-cores", like.cores if same else None),
        like.peak if same else None,
    )


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else "See `tunesmith targets`."
