"""Targets: what a name means to TVM, which device measures it, which records it shares, how fast it can be. Pure data,
no TVM.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from rpc.chips import CHIPS, Chip
from tuner.errors import TargetUnknown
from tuner.targets import apple, triples, tvm_strings
from tuner.targets.custom import check, parse
from tuner.targets.roofline import Peak, peak_of

Facts = Mapping[str, Any]

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
    performance cores kernels run on, ``peak`` what the chip does at most, which everything that shows one reads here.
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
    def peak_by_unit(self) -> dict[str, float]:
        """GFLOPS of single precision by units beside the cores."""
        return dict(self.peak.units) if self.peak else {}

    @property
    def bandwidth_gb_per_sec(self) -> float | None:
        """GB/s from memory."""
        return self.peak.gb_per_sec if self.peak else None

    @property
    def peak_source(self) -> str | None:
        """``computed`` from units and clocks, or ``measured`` on the device."""
        return self.peak.source if self.peak else None

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


def _apple(chip: Chip, facts: Facts) -> list[Target]:
    """A chip's targets, with the cores that ``facts`` of a device of it tell.

    The kind is the host's tag, as no record of an M1 is for an M1 Max. TVM has names of its own for the first two
    generations' GPUs with short threadgroups.
    """
    cores, gpu_cores = facts.get("threads") or chip.cores, facts.get("gpu_cores") or chip.gpu_cores
    host = {"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": chip.mcpu} | (
        {"tag": chip.kind} if chip.kind else {}
    )
    gpu = _APPLE_GPU | {"host": host}
    on_gpu: dict[str, Any] = {"cores": cores, "peak": apple.gpu_peak(chip, gpu_cores)}
    title = f"{chip.title}, its GPU"
    found = [
        _named(
            f"{chip.name}-cpu",
            f"{chip.title}, its {cores} performance cores",
            host | {"num-cores": cores, "libs": ["accelerate"]},
            cores=cores,
            peak=apple.cpu_peak(chip, cores),
        ),
        _named(f"{chip.name}-metal", f"{title} ({gpu_cores} cores)", gpu, **on_gpu),
    ]
    if chip.name in _WITH_SHORT_THREADGROUPS:
        short = gpu | {"max_threads_per_block": 256, "max_num_threads": 256}
        title_short = f"{title}, at most 256 threads in a threadgroup: for kernels that need many registers"
        found.append(_named(f"{chip.name}-metal-restricted", title_short, short, f"{chip.name}-metal", **on_gpu))
    return found


_WITH_SHORT_THREADGROUPS = ("m1", "m2")
_LINUX = _named(
    "linux-arm64",
    "64-bit ARM with Linux, whatever its make; four cores",
    {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "generic", "mattr": ["+neon"], "num-cores": 4},
    cores=4,
)


def known(device_key: str, facts: Facts | None = None, seen: Mapping[str, Facts] | None = None) -> list[Target]:
    """All named targets; ``cuda`` is among them when the local device has such a GPU.

    ``facts`` are what the local device said of itself, if it was ever seen, ``seen`` those of devices by key, with
    their measured peaks: a target has its device's where units and clocks of the chip are not known. How many cores a
    kind of Apple's has differs: that of its device counts, before one was seen the most.
    """
    seen = seen or {}
    local = Target("local", "CPU of the machine the service runs on", {"kind": "llvm"}, "", device_key)
    told = facts if facts and facts.keys() >= _NEEDED else None
    here = localised(local, told) if told else local
    macs = [target for chip in CHIPS for target in _apple(chip, _of_chip(chip.name, seen))]
    found = [here, *(_cuda(here, told) if told else []), *macs, _LINUX]
    return [_with_peak(target, seen.get(target.device_key, {})) for target in found]


def _of_chip(name: str, seen: Mapping[str, Facts]) -> Facts:
    """What is known of a Mac: the same, whether it offered its CPU or its GPU."""
    return seen.get(f"{name}-cpu") or seen.get(f"{name}-metal") or {}


def resolve(name: str, device_key: str, facts: Facts | None = None, seen: Mapping[str, Facts] | None = None) -> Target:
    """The target of this name, or of a TVM target given as JSON text (``{"kind": "llvm", ...}``) or as tvmc takes it
    (``llvm -mcpu=...``; without options it is the local one); see ``known``.

    Raises TargetUnknown naming the nearest names, also for an mcpu that LLVM does not know, for Metal without an Apple
    host and for limits beyond the chip's.
    """
    text = name.strip()
    targets = {target.name: target for target in known(device_key, facts, seen)}
    if tvm_strings.is_string(text):
        text = tvm_strings.as_json(text)
    if is_json(text):
        return _custom(text, list(targets.values()))
    if text == "llvm":
        return targets["local"]
    if text in targets:
        return targets[text]
    raise TargetUnknown(f"There is no target {text!r}.", _nearest(text, list(targets)))


def is_json(name: str) -> bool:
    """Is a target given as JSON, not by a name?"""
    return name.lstrip().startswith("{")


@lru_cache(maxsize=4096)  # a pass of the coordinator asks it of each job, several times
def device_key_of(name: str, device_key: str) -> str:
    """The tracker key of the device for a target's name or JSON, also of one known only when its device was seen."""
    try:
        return resolve(name, device_key).device_key
    except TargetUnknown:
        return device_key


_NEEDED = {"mtriple", "mcpu", "threads"}  # of a device's facts, to know its target


def localised(target: Target, facts: Facts) -> Target:
    """The local target once its device said what it is: ``facts`` has LLVM's names and ``threads``."""
    tvm = {"kind": "llvm", "mtriple": facts["mtriple"], "mcpu": facts["mcpu"], "num-cores": facts["threads"]}
    return replace(target, tvm=tvm, family=triples.family(tvm), cores=facts["threads"])


def _with_peak(target: Target, facts: Facts) -> Target:
    """What is measured of a device is its CPU."""
    if target.peak is not None or target.tvm["kind"] != "llvm":
        return target
    return replace(target, peak=peak_of(facts))


def _cuda(local: Target, facts: Facts) -> list[Target]:
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
    host = triples.host_of(tvm)
    same = [target for target in alike if triples.host_of(target.tvm).get("mcpu") == host.get("mcpu")]
    same.sort(key=lambda target: triples.host_of(target.tvm).get("tag") != host.get("tag"))
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
