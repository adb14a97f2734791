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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi.libinfo

from rpc.facts import physical_cores
from tests.support.made_once import made_once
from tests.support.msl.source import Lowered, lower, translated

_SHIM = Path(__file__).parent / "shim"
_SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
_RUNTIME = ("executor.cpp", "host.cpp", "memory.cpp")
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
    with tempfile.TemporaryDirectory(prefix="msl-") as name:
        folder = Path(name)
        program = _compile(lowered, folder, sanitize)
        _write(folder / "in.bin", arguments)
        limits = [str(lowered.max_threads), str(lowered.max_threadgroup_bytes)]
        done = subprocess.run(
            [program, folder / "in.bin", folder / "out.bin", *limits, str(seed)],
            capture_output=True,
            text=True,
            timeout=_DEADLINE_SEC,
            check=False,
            env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0"},
        )
        if done.returncode:
            raise KernelFault(done.stderr.strip()[:2000] or f"the kernel ended with {done.returncode}")
        return _read(folder / "out.bin", arguments)


def _compile(lowered: Lowered, folder: Path, sanitize: bool) -> Path:
    runtime = made_once(f"msl-{'checked' if sanitize else 'plain'}", lambda made: _compile_runtime(made, sanitize))
    (folder / "host.c").write_text(lowered.host)
    (folder / "kernels.cpp").write_text(translated(lowered))
    _call(["gcc", "-w", "-Dhalf=_Float16", *_includes(), "-c", "host.c", "-o", "host.o"], folder)
    objects = [str(runtime / name.replace(".cpp", ".o")) for name in _RUNTIME]
    command = ["g++", *_flags(sanitize), "-I", str(runtime), *_includes()]
    _call([*command, "kernels.cpp", "host.o", *objects, "-o", "program"], folder)
    return folder / "program"


def _compile_runtime(folder: Path, sanitize: bool) -> None:
    """What all programs share: the executor, and the shim's headers."""
    command = ["g++", *_flags(sanitize), *_includes()]
    commands = [[*command, "-O2", "-c", str(_SHIM / source)] for source in _RUNTIME]
    commands.append([*command, "-x", "c++-header", str(_SHIM / "host.h"), "-o", "host.h.gch"])
    with ThreadPoolExecutor(physical_cores()) as pool:
        list(pool.map(lambda each: _call(each, folder), commands))


def _flags(sanitize: bool) -> list[str]:
    return ["-std=c++20", "-O0", "-w", *(_SANITIZERS if sanitize else [])]


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
