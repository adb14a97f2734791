"""Links what TVM compiled into a library for its target: by this machine's compiler, or by Zig for any other.

Zig brings headers, system symbols and a signing linker for every target, so that neither a Mac nor Xcode is needed.
"""

from __future__ import annotations

import logging
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tvm.support.cc import get_cc

from tuner.errors import LinkFailed
from tuner.targets import triples

log = logging.getLogger(__name__)

# The oldest systems a library must load on: the first macOS of the M1, and the glibc of the manylinux2014 wheels.
_ZIG_TARGETS = {
    ("aarch64", "macos"): "aarch64-macos.11.0",
    ("aarch64", "linux"): "aarch64-linux-gnu.2.17",
    ("x86_64", "linux"): "x86_64-linux-gnu.2.17",
}
# TVM's own symbols are found when the library is loaded, and it must not carry the path it was made at.
_MACOS = ("-undefined", "dynamic_lookup", "-Wl,-install_name,@rpath/lib.dylib")
_ZIG = (sys.executable, "-m", "ziglang")
_DEADLINE_SEC = 300.0  # the first link for a target compiles Zig's runtime for it


def linker_for(target: Mapping[str, Any]) -> Callable[..., None]:
    """``fcompile`` of ``export_library`` for a TVM target's JSON.

    Raises LinkFailed when nothing here links for such a machine.
    """
    if _is_here(target):
        return _here
    machine = (triples.architecture(target), triples.system(target))
    if machine not in _ZIG_TARGETS:
        raise LinkFailed(
            f"No library can be linked for {triples.host_triple(target)}.",
            f"Linked is for {', '.join(' '.join(known) for known in _ZIG_TARGETS)}.",
        )

    def link(output: str, objects: Sequence[str], options: Sequence[str] | None = None, **_: Any) -> None:
        _zig(_ZIG_TARGETS[machine], output, objects, (*(_MACOS if machine[1] == "macos" else ()), *(options or ())))

    return link


def candidate_linker_for(target: Mapping[str, Any]) -> Callable[..., None]:
    """``linker_for`` a library that is loaded once and beside TVM: the bare linker takes half of a compiler's time."""
    if triples.system(target) != "linux":
        return linker_for(target)
    return partial(_bare, ["ld"] if _is_here(target) and shutil.which("ld") else [*_ZIG, "ld.lld"])


def _is_here(target: Mapping[str, Any]) -> bool:
    return triples.is_here(target) and triples.system(target) == "linux"


def _here(output: str, objects: Sequence[str], options: Sequence[str] | None = None, **_: Any) -> None:
    compiler = get_cc()
    if compiler is None:
        raise LinkFailed("There is no C compiler here.", "Install gcc or clang, or name one in CC.")
    command = [compiler, "-shared", "-fPIC", "-o", output, *(options or ()), *objects]
    _run(command, output, f"Does {compiler} work here?")


def _bare(linker: Sequence[str], output: str, objects: Sequence[str], *_: Any, **__: Any) -> None:
    _run([*linker, "-shared", "-o", output, *objects], output, f"Does `{shlex.join(linker)}` work here?")


def _zig(zig_target: str, output: str, objects: Sequence[str], options: Sequence[str]) -> None:
    flags = ("-shared", "-O2", "-s", "-fno-sanitize=undefined")
    command = [*_ZIG, "cc", "-target", zig_target, *flags, *options, "-o", output, *objects]
    working = "`python -m ziglang version` shows whether the linker works (it comes with `pip install ziglang`)."
    _run(command, f"{output} for {zig_target}", working)


def _run(command: list[str], what: str, hint: str) -> None:
    """Raises LinkFailed with what the linker says."""
    log.debug("$ %s", shlex.join(map(str, command)))
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DEADLINE_SEC)
    except subprocess.TimeoutExpired:
        raise LinkFailed(
            f"Linking {what} took more than {_DEADLINE_SEC:g} s.", "The machine is too busy: try again."
        ) from None
    if said := done.stderr.strip():
        log.debug("%s", said)
    if done.returncode:
        raise LinkFailed(f"Linking {what} failed: {said[-1000:]}", hint)
