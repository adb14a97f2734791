"""What a TVM target's JSON says of the machine it is for, and the key its records are shared by. Pure functions."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64", "arm64e": "aarch64"}
_SYSTEMS = {"darwin": "macos", "macos": "macos", "linux": "linux", "windows": "windows", "win32": "windows"}


def host_of(tvm: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a target that describes the CPU: itself, or a GPU's host; empty when a GPU names none."""
    host: Mapping[str, Any] = tvm if tvm.get("kind") == "llvm" else tvm.get("host") or {}
    return host


def host_triple(tvm: Mapping[str, Any]) -> str:
    """LLVM's triple of the target's host; this machine's, as ``x86_64-linux``, when the target has none."""
    return str(host_of(tvm).get("mtriple", "")) or f"{platform.machine().lower()}-{sys.platform}"


def architecture(tvm: Mapping[str, Any]) -> str:
    """The host's architecture by one name: ``x86_64``, ``aarch64``, ..."""
    return normal(host_triple(tvm).split("-")[0])


def system(tvm: Mapping[str, Any]) -> str:
    """``macos``, ``linux``, ``windows``, or empty for a triple that names none of them."""
    triple = host_triple(tvm)
    return next((name for word, name in _SYSTEMS.items() if word in triple), "")


def library_suffix(tvm: Mapping[str, Any]) -> str:
    """What libraries are called on the target's system."""
    return ".dylib" if system(tvm) == "macos" else ".so"


def is_here(tvm: Mapping[str, Any]) -> bool:
    """Is the target's host a machine like this one, in architecture and system?"""
    return (architecture(tvm), system(tvm)) == (architecture({}), system({}))


def family(tvm: Mapping[str, Any]) -> str:
    """What records are shared by: ``llvm-x86_64-znver5-2c`` (kind, architecture, mcpu, extra features, cores),
    ``metal-apple-m1-1024t`` (kind, chip, threads of a threadgroup), ``cuda-sm_90``. The host's tag belongs to the chip:
    ``metal-apple-m1-max-1024t``.
    """
    host = host_of(tvm)
    chip = "-".join(filter(None, [str(host.get("mcpu", "generic")), str(host.get("tag", ""))]))
    if tvm["kind"] == "cuda":
        return f"cuda-{tvm['arch']}"
    if tvm["kind"] == "metal":
        return f"metal-{chip}-{tvm['max_threads_per_block']}t"
    parts = [str(tvm["kind"]), architecture(tvm), chip, *sorted(host.get("mattr", []))]
    if "num-cores" in tvm:
        parts.append(f"{tvm['num-cores']}c")
    return "-".join(parts)


def file_name(family: str) -> str:
    """The family as (part of) a file's name: whatever it holds, it leads nowhere else."""
    return quote(family, safe="+")


def normal(name: str) -> str:
    """An architecture's one name of several."""
    return _ARCHITECTURES.get(name.lower(), name.lower())
