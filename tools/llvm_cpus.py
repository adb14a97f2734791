"""Writes tuner/data/llvm_cpus.json: the CPU names TVM's LLVM knows, so that the web process can check one without TVM.

Run it again after a change of the TVM version: ``python tools/llvm_cpus.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tvm
from tvm.target.codegen import llvm_get_cpu_archlist, llvm_get_cpu_features

TRIPLES = {
    "x86_64": "x86_64-unknown-linux-gnu",
    "aarch64": "aarch64-unknown-linux-gnu",
    "riscv64": "riscv64-unknown-linux-gnu",
}
# Second names, of AArch64Processors.td: LLVM takes them but lists the first names only.
ALIASES = {"aarch64": ["apple-a18", "apple-m1", "apple-m2", "apple-m3", "cobalt-100", "grace"]}
PATH = Path(__file__).parents[1] / "tuner" / "data" / "llvm_cpus.json"


def known_cpus() -> dict[str, list[str]]:
    """CPU names by architecture, sorted."""
    return {arch: sorted(_listed(triple) | _aliases(arch, triple)) for arch, triple in TRIPLES.items()}


def _listed(triple: str) -> set[str]:
    return {str(cpu) for cpu in llvm_get_cpu_archlist(_target(triple))}


def _aliases(arch: str, triple: str) -> set[str]:
    """The second names that this LLVM takes: one it does not know gets the features of no CPU in particular."""
    unknown = _features(triple, "generic")
    return {name for name in ALIASES.get(arch, []) if _features(triple, name) != unknown}


def _features(triple: str, mcpu: str) -> set[str]:
    return {str(feature) for feature in llvm_get_cpu_features(_target(triple, mcpu=mcpu))}


def _target(triple: str, **options: str) -> Any:
    return tvm.target.Target({"kind": "llvm", "mtriple": triple, **options})


if __name__ == "__main__":
    PATH.write_text(json.dumps(known_cpus(), indent=1) + "\n")
    print(f"{PATH}: {', '.join(f'{len(cpus)} of {arch}' for arch, cpus in known_cpus().items())}")
