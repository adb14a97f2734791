"""Runs the Metal kernels that TVM generates, on the CPU, and finds what a GPU would not tell.

The kernels are compiled as C++ against a small shim of Metal's library (``shim/``); the host code is TVM's own, in C.
Threads of a group run as fibers that switch at barriers. Every access to device and threadgroup memory is checked: out
of bounds, misaligned vectors, uninitialised reads, data races (two threads touch one element, one writes, no barrier
between), barriers that some threads never reach. On demand the address and undefined-behaviour sanitizers watch
arithmetic and arrays of one thread.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi.libinfo

from tests.support.made_once import made_once
from tests.support.msl.source import Lowered, lower, translated

_SHIM = Path(__file__).parent / "shim"
_SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
_STANDARD = "-std=c++20"
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
_DEADLINE_SEC = 240


class KernelFault(Exception):
    """What a kernel does wrong."""


def missing_compiler() -> str | None:
    """Why nothing can run here, None when it can."""
    return None if shutil.which("g++") else "there is no g++"


def run(
    mod: Any, target: Any, arguments: Sequence[np.ndarray], sanitize: bool = False, seed: int = 0
) -> list[np.ndarray]:
    """Run ``main`` of a scheduled module and return all arguments, outputs among them, as it left them.

    ``target`` is of kind metal, its host does not matter; ``seed`` chooses the order in which threads run.
    ``sanitize`` adds the sanitizers, which take several times as long to compile.
    Raises KernelFault.
    """
    return run_lowered(lower(mod, target), arguments, sanitize, seed)


def run_lowered(
    lowered: Lowered, arguments: Sequence[np.ndarray], sanitize: bool = False, seed: int = 0
) -> list[np.ndarray]:
    """The same for kernels that are source already; several threads may do it at once."""
    program = made_once("msl", _compile_runtime) / ("checked" if sanitize else "plain") / "program"
    with tempfile.TemporaryDirectory(prefix="msl-") as name:
        folder = Path(name)
        _compile(lowered, folder, program.parent, sanitize)
        _write(folder / "in.bin", arguments)
        limits = [str(lowered.max_threads), str(lowered.max_threadgroup_bytes)]
        done = subprocess.run(
            [program, folder / "kernels.so", folder / "in.bin", folder / "out.bin", *limits, str(seed)],
            capture_output=True,
            text=True,
            timeout=_DEADLINE_SEC,
            check=False,
            env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0"},
        )
        if done.returncode:
            raise KernelFault(done.stderr.strip()[:2000] or f"the kernel ended with {done.returncode}")
        return _read(folder / "out.bin", arguments)


def _compile(lowered: Lowered, folder: Path, runtime: Path, sanitize: bool) -> None:
    """Its library, which takes from the program that loads it whatever it needs."""
    (folder / "kernels.cpp").write_text(translated(lowered))
    command = ["g++", *_flags(sanitize), "-I", str(runtime), *_includes(), "-shared", "-nostdlib"]
    _call([*command, "kernels.cpp", "-lgcc", "-o", "kernels.so"], folder)


def _compile_runtime(folder: Path) -> None:
    """The programs that load and run kernels, beside the shim's headers, compiled too. The sanitizers watch kernels."""
    _call(["g++", _STANDARD, "-O2", *_includes(), "-c", str(_SHIM / "runtime.cpp"), "-o", "runtime.o"], folder)
    for name, sanitizers in (("plain", []), ("checked", _SANITIZERS)):
        (folder / name).mkdir()
        _call(["g++", *sanitizers, "-rdynamic", "runtime.o", "-ldl", "-o", f"{name}/program"], folder)
        command = ["g++", *_flags(bool(sanitizers)), *_includes(), "-x", "c++-header"]
        _call([*command, str(_SHIM / "metal_stdlib"), "-o", f"{name}/metal_stdlib.gch"], folder)


def _flags(sanitize: bool) -> list[str]:
    return [_STANDARD, "-O0", "-w", "-fPIC", *(_SANITIZERS if sanitize else [])]


def _includes() -> list[str]:
    ours = [str(_SHIM), str(Path(tvm.__file__).parent / "include")]
    folders = [*ours, tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path()]
    return [argument for folder in folders for argument in ("-I", folder)]


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_DEADLINE_SEC, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} fails on a generated kernel: {done.stderr[:3000]}")


def _write(path: Path, arguments: Sequence[np.ndarray]) -> None:
    with path.open("wb") as file:
        file.write(np.int64(len(arguments)).tobytes())
        for array in arguments:
            header = [_CODES[array.dtype.kind], array.dtype.itemsize * 8, array.ndim, *array.shape]
            file.write(np.array(header, np.int64).tobytes())
            file.write(np.ascontiguousarray(array).tobytes())


def _read(path: Path, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    content, offset, arrays = path.read_bytes(), 0, []
    for array in like:
        arrays.append(np.frombuffer(content, array.dtype, array.size, offset).reshape(array.shape))
        offset += array.nbytes
    return arrays
