"""Targets: what a name means to TVM, which device measures it, which records it shares, how fast it can be. Pure data,
no TVM.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from tuner.errors import TargetUnknown
from tuner.targets import triples, tvm_strings
from tuner.targets.custom import check, parse
from tuner.targets.roofline import Peak

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


def _peak(lanes: int, ghz: float, mega_transfers: int) -> Peak:
    """Of single precision: two operations a lane and cycle; memory on a bus of 128 bits, as the M1 and the M2 have."""
    return Peak(round(2 * lanes * ghz, 1), round(mega_transfers * 16 / 1000, 1), "computed")


def _apple(chip: str, cpu_ghz: float, gpu_cores: int, gpu_ghz: float, mega_transfers: int) -> tuple[Target, ...]:
    """A chip's targets. Its four performance cores have four NEON units of four lanes, its GPU's cores 128 lanes."""
    short, title = chip.lower(), f"Apple {chip}"
    host = {"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": f"apple-{short}"}
    gpu = _APPLE_GPU | {"host": host}
    narrow = gpu | {"max_threads_per_block": 256, "max_num_threads": 256}
    on_cpu, on_gpu = (_peak(4 * 4 * 4, cpu_ghz, mega_transfers), _peak(gpu_cores * 128, gpu_ghz, mega_transfers))
    title_gpu = f"{title}, its GPU (peak: {gpu_cores} cores)"
    title_narrow = f"{title}, its GPU, at most 256 threads in a threadgroup: for kernels that need many registers"
    return (
        _named(f"{short}-cpu", f"{title}, its 4 performance cores", host | {"num-cores": 4}, cores=4, peak=on_cpu),
        _named(f"{short}-metal", title_gpu, gpu, cores=4, peak=on_gpu),
        _named(f"{short}-metal-restricted", title_narrow, narrow, f"{short}-metal", cores=4, peak=on_gpu),
    )


# Clocks and memory as measurements of the chips give them: LPDDR4X-4266 and LPDDR5-6400.
_FOREIGN = (
    *_apple("M1", cpu_ghz=3.2, gpu_cores=8, gpu_ghz=1.278, mega_transfers=4266),
    *_apple("M2", cpu_ghz=3.5, gpu_cores=10, gpu_ghz=1.398, mega_transfers=6400),
    _named(
        "linux-arm64",
        "64-bit ARM with Linux, whatever its make; four cores",
        {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "generic", "mattr": ["+neon"], "num-cores": 4},
        cores=4,
    ),
)

Facts = Mapping[str, Any]


def known(device_key: str, facts: Facts | None = None, measured: Mapping[str, Peak] | None = None) -> list[Target]:
    """All named targets; ``cuda`` is among them when the local device has such a GPU.

    ``facts`` are what the local device said of itself, if it was ever seen; ``measured`` are peaks of devices by key: a
    target has its device's where units and clocks of the chip are not known.
    """
    local = Target("local", "CPU of the machine the service runs on", {"kind": "llvm"}, "", device_key)
    told = facts if facts and facts.keys() >= _NEEDED else None
    here = localised(local, told) if told else local
    found = [here, *(_cuda(here, told) if told else []), *_FOREIGN]
    return [_with_peak(target, measured or {}) for target in found]


def resolve(
    name: str, device_key: str, facts: Facts | None = None, measured: Mapping[str, Peak] | None = None
) -> Target:
    """The target of this name, or of a TVM target given as JSON text (``{"kind": "llvm", ...}``) or as tvmc takes it
    (``llvm -mcpu=...``; without options it is the local one); see ``known``.

    Raises TargetUnknown naming the nearest names, also for an mcpu that LLVM does not know, for Metal without an Apple
    host and for limits beyond the chip's.
    """
    text = name.strip()
    targets = {target.name: target for target in known(device_key, facts, measured)}
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


def _with_peak(target: Target, measured: Mapping[str, Peak]) -> Target:
    """What is measured of a device is its CPU."""
    if target.peak is not None or target.tvm["kind"] != "llvm":
        return target
    return replace(target, peak=measured.get(target.device_key))


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
