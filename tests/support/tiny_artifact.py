"""A real artifact in miniature: one dense layer, compiled by TVM for this machine, packed as the service packs it."""

from __future__ import annotations

import hashlib
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from tuner.artifact import travelling

WEIGHT = np.arange(12, dtype="float32").reshape(4, 3) / 10
BIAS = np.array([1, -1, 0.5], dtype="float32")


def build(folder: Path) -> Path:
    """Writes the members of an artifact that computes ``x @ WEIGHT + BIAS`` into ``folder``."""
    import tvm
    from tvm import relax
    from tvm.target import codegen

    folder.mkdir(parents=True, exist_ok=True)
    x = relax.Var("x", relax.TensorType((2, 4), "float32"))
    weight = relax.Var("weight", relax.TensorType(WEIGHT.shape, "float32"))
    bias = relax.Var("bias", relax.TensorType(BIAS.shape, "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, weight, bias]):
        with builder.dataflow():
            result = builder.emit_output(relax.op.add(relax.op.matmul(x, weight), bias))
        builder.emit_func_output(result)
    target = {
        "kind": "llvm",
        "mtriple": codegen.llvm_get_system_triple(),
        "mcpu": codegen.llvm_get_system_cpu(),
    }
    tvm.compile(builder.get(), target=tvm.target.Target(target)).export_library(str(folder / "lib.so"))
    safetensors.numpy.save_file({"p0": WEIGHT, "p1": BIAS}, folder / "params.safetensors")
    for name, source in travelling.sources({}).items():
        (folder / name).write_text(source)
    write_manifest(folder, target=target, versions={"tvm": tvm.__version__})
    return folder


def write_manifest(folder: Path, **changes: Any) -> None:
    """The manifest of the members in ``folder``, with entries replaced by ``changes``."""
    members = [p for p in sorted(folder.iterdir()) if p.name != "manifest.json" and p.is_file()]
    manifest = {
        "library": "lib.so",
        "params": ["p0", "p1"],
        "inputs": [{"name": "x", "shape": [2, 4], "dtype": "float32"}],
        "outputs": [{"name": "y", "shape": [2, 3], "dtype": "float32"}],
        "machine": platform.machine(),
        "threads": 1,
        "files": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in members},
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def pack(folder: Path, tar_path: Path) -> Path:
    """The folder's members as an artifact tar."""
    with tarfile.open(tar_path, "w") as tar:
        for member in sorted(folder.iterdir()):
            if member.is_file():
                tar.add(member, arcname=member.name)
    return tar_path
