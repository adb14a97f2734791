"""Writes tuner/data/llvm_names.json: the CPUs and features TVM's LLVM knows, so that the web process can check without
TVM what a target names.

Run it again after a change of the TVM version: ``python tools/llvm_names.py``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
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
PATH = Path(__file__).parents[1] / "tuner" / "data" / "llvm_names.json"
# As with llc's -mattr=help, LLVM itself prints what there is. TVM would load PyTorch first, for seconds.
_HELP = (
    "import sys; sys.modules['torch'] = None; import tvm; from tvm.target.codegen import llvm_get_cpu_features as ask; "
    "ask(tvm.target.Target({'kind': 'llvm', 'mtriple': sys.argv[1], 'mattr': ['+help']}))"
)


def known_names() -> dict[str, dict[str, list[str]]]:
    """Names of CPUs and of features by architecture, sorted."""
    return {
        arch: {"cpus": sorted(_listed(triple) | _aliases(arch, triple)), "features": _all_features(triple)}
        for arch, triple in TRIPLES.items()
    }


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


def _all_features(triple: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", _HELP, triple], check=True, capture_output=True, text=True)
    _, _, listed = done.stderr.partition("Available features for this target:")
    return sorted(re.findall(r"^  (\S+) +- ", listed, re.MULTILINE))


if __name__ == "__main__":
    names = known_names()
    PATH.write_text(json.dumps(names, indent=0) + "\n")
    for arch, found in names.items():
        print(f"{arch}: {len(found['cpus'])} CPUs, {len(found['features'])} features")
