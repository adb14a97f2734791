"""Would a library load on its target? What can be told without the machine: its header, its entries, its symbols.

Every symbol that a library for macOS does not define must be one that TVM's macOS wheels or libSystem export there;
the lists are in tuner/data/macos_symbols.json, made by tools/macos_symbols.py; and Accelerate, if the target has it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpc.blas import LIBRARIES
from tuner.errors import LoadCheckFailed
from tuner.targets import blas, triples

if TYPE_CHECKING:
    import lief

SYMBOLS, DEVICE, NONE = "symbols", "device", "none"  # how far a library's loading was checked
MODULE_ENTRY = "__tvm_ffi__library_bin"  # where TVM's loader finds the modules inside a library
_KERNEL_PREFIX = "__tvm_ffi_"
_NEWEST_MACOS = (11, 0)  # the M1's first; a library that asks for a newer one would shut Macs out
_MACHO_CPUS = {"ARM64": "aarch64", "X86_64": "x86_64"}
_ELF_MACHINES = {"AARCH64": "aarch64", "X86_64": "x86_64"}


@dataclass(frozen=True)
class Library:
    """A shared library as its file says: names are C's, without Mach-O's leading underscore.

    ``minimum_os`` is macOS's version, empty elsewhere; ``signed``: macOS kills arm64 code that is not.
    """

    form: str  # Mach-O | ELF
    architecture: str
    minimum_os: str
    signed: bool
    exported: frozenset[str]
    undefined: frozenset[str]


def read_library(path: Path) -> Library:
    """Parse a library. Raises LoadCheckFailed when it is neither Mach-O nor ELF."""
    import lief  # half a second of a core, of which the process of a round knows nothing

    lief.logging.disable()
    binary = lief.parse(str(path))
    if isinstance(binary, lief.MachO.Binary):
        return _read_macho(binary)
    if isinstance(binary, lief.ELF.Binary):
        return _read_elf(binary)
    raise LoadCheckFailed(f"{path} is no library for macOS or Linux.", "Compile it again.")


def problems(library: Library, target: Mapping[str, Any], kernels: Collection[str]) -> list[str]:
    """Why a library would not load on a target or lacks one of ``kernels``; empty when nothing speaks against it."""
    wanted = ("Mach-O" if triples.system(target) == "macos" else "ELF", triples.architecture(target))
    found = (library.form, library.architecture)
    if found != wanted:
        return [f"it is {' '.join(found)}, the target needs {' '.join(wanted)}"]
    entries = {MODULE_ENTRY, *(_KERNEL_PREFIX + name for name in kernels)}
    said = [f"it does not export {name}" for name in sorted(entries - library.exported)]
    if library.form == "Mach-O":
        known = macos_symbols() | (blas.EXPORTS if blas.blas_of(target) else frozenset())
        said += [f"nothing on a Mac defines {name}" for name in sorted(library.undefined - known)]
        if not library.signed:
            said.append("it has no code signature, without which an arm64 Mac kills it")
        if tuple(int(part) for part in library.minimum_os.split(".")[:2]) > _NEWEST_MACOS:
            said.append(f"it asks for macOS {library.minimum_os}")
    return said


def check_library(path: Path, target: Mapping[str, Any], kernels: Collection[str]) -> dict[str, Any]:
    """What a manifest says of a library that was checked, as ``binary`` and ``load_check``, and as ``blas`` the library
    that has to be loaded before it, if there is one.

    ``load_check`` is ``symbols`` where a list of the target's symbols is known, else ``none``.
    Raises LoadCheckFailed with everything that is wrong.
    """
    library = read_library(path)
    if wrong := problems(library, target, kernels):
        raise LoadCheckFailed(
            f"{path.name} would not load on {triples.host_triple(target)}: {'; '.join(wrong)}.",
            "Reinstall the pinned apache-tvm and ziglang, then compile again.",
        )
    binary = {
        "format": f"{library.form} {library.architecture} shared library",
        "entry": MODULE_ENTRY,
        "kernels": len(kernels),
        "undefined": sorted(library.undefined),
    }
    if library.form == "Mach-O":
        binary["minimum_os"] = f"macOS {library.minimum_os}"
    needed = {"blas": LIBRARIES[blas.name_of(target)]} if library.undefined & blas.EXPORTS else {}
    return {"binary": binary, **needed, **load_check(SYMBOLS if library.form == "Mach-O" else NONE, target)}


def load_check(level: str, target: Mapping[str, Any]) -> dict[str, str]:
    """A manifest's ``load_check`` and, in words, ``tested``."""
    place = "a Mac" if triples.system(target) == "macos" else "its device"
    return {"load_check": level, "tested": "loaded and run" if level == DEVICE else f"not load-tested on {place}"}


@cache
def macos_symbols() -> frozenset[str]:
    """C symbols that a library finds on a Mac with the pinned TVM installed."""
    lists = json.loads(resources.files("tuner.data").joinpath("macos_symbols.json").read_text())
    return frozenset(_c_name(name) for name in (*lists["tvm"], *lists["libSystem"]))


def _read_macho(binary: lief.MachO.Binary) -> Library:
    version = binary.build_version.minos if binary.build_version else [0, 0]
    return Library(
        "Mach-O",
        _MACHO_CPUS.get(binary.header.cpu_type.name, binary.header.cpu_type.name),
        ".".join(str(part) for part in version[:2]),
        binary.has_code_signature,
        frozenset(_c_name(str(symbol.name)) for symbol in binary.exported_symbols),
        frozenset(_c_name(str(symbol.name)) for symbol in binary.imported_symbols),
    )


def _read_elf(binary: lief.ELF.Binary) -> Library:
    names = [(str(symbol.name), symbol.shndx) for symbol in binary.dynamic_symbols if symbol.name]
    return Library(
        "ELF",
        _ELF_MACHINES.get(binary.header.machine_type.name, binary.header.machine_type.name),
        "",
        False,
        frozenset(name for name, section in names if section),
        frozenset(name for name, section in names if not section),
    )


def _c_name(name: str) -> str:
    return name.removeprefix("_")
