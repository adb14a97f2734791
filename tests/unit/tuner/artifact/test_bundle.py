"""Which artifacts have a bundle, and what is said of those that have none."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from rpc.blas import LIBRARIES
from tuner.artifact.bundle import bundle_of, refusal
from tuner.errors import InvalidInput
from tuner.targets import presets, triples

HERE = {"kind": "llvm", "mtriple": triples.host_triple({"kind": "llvm"})}
M1 = presets.resolve("m1-cpu", "local").tvm
MADE_BY = {"tvm": metadata.version("apache-tvm")}
BY_ACCELERATE = {"target": M1, "versions": MADE_BY, "blas": LIBRARIES["accelerate"]}


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"target": HERE, "versions": MADE_BY}, ""),
        ({"target": HERE, "versions": MADE_BY, "blas": "libopenblas.so.0"}, "computes with libopenblas.so.0"),
        (BY_ACCELERATE, "for Linux, this artifact is compiled for macos on aarch64"),
        ({"target": presets.resolve("m1-metal", "local").tvm, "versions": MADE_BY}, "runs on a CPU"),
        ({"target": HERE, "versions": {"tvm": "0.19.0"}}, "needs TVM 0.19.0"),
    ],
)
def test_what_a_bundle_can_not_bring_is_said(manifest: dict[str, Any], said: str) -> None:
    assert refusal(manifest) == "" if not said else said in refusal(manifest)


def test_what_needs_accelerate_is_refused_before_its_tar_is_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="this artifact is compiled for macos"):
        bundle_of(tmp_path / "no-such.tar", BY_ACCELERATE)
