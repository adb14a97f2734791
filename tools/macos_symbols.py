"""Writes tuner/data/macos_symbols.json: what a library may expect of a Mac, so that it can be checked on any machine.

The C symbols that the dylibs of TVM's macOS wheels export (of the pinned versions, fetched by pip; C++ names are left
out, generated code never calls one), and those of libSystem's parts that generated code can need (from the list that
Zig's linker uses, for arm64). Run it again after a change of either version: ``python tools/macos_symbols.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import lief
import yaml
import ziglang

from rpc.versions import PINS

PATH = Path(__file__).parents[1] / "tuner" / "data" / "macos_symbols.json"
WHEELS = ("apache-tvm", "apache-tvm-ffi")
DYLIBS = ("libtvm_runtime.dylib", "libtvm_runtime_extra.dylib", "libtvm_runtime_metal.dylib", "libtvm_ffi.dylib")
SYSTEM_PARTS = ("compiler_rt", "dyld", "system_c", "system_m", "system_malloc", "system_platform", "system_pthread")
ARM64 = "arm64e-macos"  # how Apple names the system's own libraries on Apple silicon


def tvm_symbols(folder: Path) -> set[str]:
    """C symbols that the runtime's dylibs export."""
    wheels = [f"{name}=={PINS[name]}" for name in WHEELS]
    options = ["--platform", "macosx_11_0_arm64", "--only-binary", ":all:", "--no-deps", "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *options, *wheels], check=True)
    found: set[str] = set()
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as members:
            for name in members.namelist():
                if name.rpartition("/")[2] in DYLIBS:
                    found |= exported(Path(members.extract(name, folder)))
    return found


def exported(dylib: Path) -> set[str]:
    """Exported names of a Mach-O library, C++ ones excepted."""
    fat = lief.MachO.parse(str(dylib))
    assert fat is not None
    names = {str(symbol.name) for binary in fat for symbol in binary.exported_symbols}
    return {name for name in names if not name.startswith("__Z")}


def system_symbols(tbd: Path) -> set[str]:
    """Symbols of the parts of libSystem, from Apple's text form of its libraries."""
    found: set[str] = set()
    for part in yaml.load_all(tbd.read_text(), Loader=loader()):
        name = part["install-name"].rpartition("/lib")[2].removesuffix(".dylib")
        if name in SYSTEM_PARTS or name == "System.B":
            for entry in [*part.get("exports", []), *part.get("reexports", [])]:
                if ARM64 in entry["targets"]:
                    found |= {*entry.get("symbols", []), *entry.get("weak-symbols", [])}
    return {name for name in found if not name.startswith("$ld$")}  # orders to Apple's linker


def loader() -> Any:
    """YAML's safe loader, which also takes Apple's tag for a document."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!tapi-tbd", lambda loader, node: loader.construct_mapping(node, deep=True))
    return Loader


def main() -> None:
    """Write the file."""
    tbd = Path(ziglang.__file__).parent / "lib" / "libc" / "darwin" / "libSystem.tbd"
    with tempfile.TemporaryDirectory() as folder:
        symbols = {"tvm": sorted(tvm_symbols(Path(folder))), "libSystem": sorted(system_symbols(tbd))}
    made_from = {**{name: PINS[name] for name in WHEELS}, "ziglang": metadata.version("ziglang")}
    text = {"made_by": "tools/macos_symbols.py", "made_from": made_from, **symbols}
    PATH.write_text(json.dumps(text, indent=0) + "\n")
    print(f"{PATH}: {', '.join(f'{len(names)} of {library}' for library, names in symbols.items())}")


if __name__ == "__main__":
    main()
