"""Can an artifact run on this machine, where on it, and by which threads?"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Any

from tuner.artifact.members import ArtifactError

_THREADS, _BIND, CALLERS_CPU = "TVM_NUM_THREADS", "TVM_BIND_THREADS", 0
_ARCH = {"amd64": "x86_64", "arm64": "aarch64"}
_SIMD = ("avx", "fma", "f16c", "amx", "dotprod", "bf16", "i8mm", "fullfp16", "sve")
_CPUINFO = Path("/proc/cpuinfo")
# What Linux calls those that kernels are written with: it knows processors without a name in LLVM, and what a virtual
# machine hides.
_OF_LINUX = {
    **{name: name for name in ("avx2", "fma", "avx512f", "avx512bw", "bf16", "i8mm", "sve")},
    **{"avx512_vnni": "avx512vnni", "avx512_bf16": "avx512bf16", "avx_vnni": "avxvnni"},
    **{"asimddp": "dotprod", "asimdhp": "fullfp16"},
}


def misfit(manifest: dict[str, Any]) -> str:
    """Why the artifact can't run on this machine with this TVM; empty when it can.

    A library of another TVM or architecture fails with a riddle, one for a newer processor dies of SIGILL.
    """
    import tvm
    from tvm.target import codegen

    built_with = str(manifest.get("versions", {}).get("tvm", tvm.__version__))
    if built_with.split(".")[:2] != tvm.__version__.split(".")[:2]:
        pin = f"pip install apache-tvm=={built_with}"
        return f"This artifact needs TVM {built_with}, {tvm.__version__} is installed. Run: {pin}"
    host = manifest["target"].get("host") or manifest["target"]  # a GPU's target names its host's
    target = {k: v for k, v in host.items() if k in ("kind", "mtriple", "mcpu", "mattr")}
    triple = target.get("mtriple") or manifest.get("machine") or platform.machine()
    wanted, here = (_ARCH.get(a.lower(), a.lower()) for a in (triple.split("-")[0], platform.machine()))
    if wanted != here:
        return f"This artifact is compiled for {wanted}, this machine is {here}."
    system = "darwin" if ("darwin" in triple or "macos" in triple) else "linux"
    if "-" in triple and system != sys.platform:
        return f"This artifact is compiled for {system}, this machine runs {sys.platform}."

    if target["kind"] == "llvm" and (target.get("mcpu") or target.get("mattr")):
        own = {"kind": "llvm", "mtriple": codegen.llvm_get_system_triple(), "mcpu": codegen.llvm_get_system_cpu()}
        if missing := ", ".join(lacking(target, own, _CPUINFO.read_text() if _CPUINFO.is_file() else "")):
            name = target.get("mcpu") or "a processor with " + ", ".join(target["mattr"])
            return f"This artifact is compiled for {name}, this processor lacks {missing}."
    return ""


def lacking(target: dict[str, Any], own: dict[str, Any], cpuinfo: str) -> list[str]:
    """Instructions that a target takes for granted and a machine lacks, which is a target too; ``cpuinfo`` is what its
    Linux says of it."""
    lines = [line for line in cpuinfo.splitlines() if line.startswith(("flags", "Features"))]
    has = _simd(own)
    if lines:
        has = has - set(_OF_LINUX.values()) | {_OF_LINUX[word] for word in lines[0].split() if word in _OF_LINUX}
    return sorted(_simd(target) - has)


def instructions(target: dict[str, Any]) -> list[str]:
    """Those that kernels for a CPU's target are written with, as its Linux calls them."""
    taken = _simd({key: value for key, value in target.items() if key in ("kind", "mtriple", "mcpu", "mattr")})
    return sorted(linux for linux, name in _OF_LINUX.items() if name in taken)


def _simd(target: dict[str, Any]) -> set[str]:
    from tvm.target import Target, codegen

    return {str(f) for f in codegen.llvm_get_cpu_features(Target(target)) if str(f).startswith(_SIMD)}


def device(manifest: dict[str, Any]) -> Any:
    """Where the artifact's kernels run: the GPU that its target names, else the CPU."""
    import tvm

    kind = manifest["target"]["kind"]
    if kind == "llvm":
        return tvm.cpu()
    found = tvm.runtime.device(kind, 0)
    if not found.exist:
        raise ArtifactError(f"This artifact is compiled for {kind}; TVM finds no such device on this machine.")
    return found


def load_blas(manifest: dict[str, Any]) -> None:
    """Load the library of linear algebra whose functions the artifact's kernels call, if they call any."""
    if name := manifest.get("blas"):
        try:
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise ArtifactError(f"This artifact computes with {name}, which this machine has not: {error}.") from None


def settle_threads(manifest: dict[str, Any]) -> None:
    """Tell TVM how many threads to run, and where, unless its variables say so already.

    It reads them when its thread pool starts, so before the first call. Its own guess is half the cores.
    """
    os.environ.setdefault(_THREADS, str(_threads(manifest)))
    os.environ.setdefault(_BIND, "1" if _take_all_cpus(int(os.environ[_THREADS])) else "0")


def are_bound() -> bool:
    """Are TVM's workers bound to cores, so that the first one is the caller's?"""
    return os.environ.get(_BIND) == "1"


def _threads(manifest: dict[str, Any]) -> int:
    """Threads the kernels were tuned with, if this machine has as many cores; else all it has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(int(manifest.get("threads") or cores), cores)


def _take_all_cpus(threads: int, system: Path = Path("/sys/devices/system/cpu")) -> bool:
    """Do so many threads fill this machine, so that each can have a core of its own and nobody else misses it?

    Left to Linux, a worker may share the caller's core for a long time while another idles, since it waits by yielding;
    inference then takes twice as long. TVM binds its workers to cores in order of speed, from the second on.
    """
    if not hasattr(os, "sched_setaffinity") or not 1 < threads == os.cpu_count() == len(os.sched_getaffinity(0)):
        return False
    return len({file.read_text() for file in system.glob("cpu*/cpufreq/cpuinfo_max_freq")}) <= 1
