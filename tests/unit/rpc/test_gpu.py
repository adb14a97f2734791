from __future__ import annotations

from pathlib import Path

import pytest

from rpc.gpu import cuda_facts, parse_cuda


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("NVIDIA H200, 9.0\n", {"name": "NVIDIA H200", "arch": "sm_90"}),
        ("NVIDIA A, B, 8.6\nNVIDIA H200, 9.0\n", {"name": "NVIDIA A, B", "arch": "sm_86"}),
        ("No devices were found\n", None),
        ("", None),
    ],
)
def test_the_drivers_answer_names_the_first_gpu(text: str, facts: dict[str, str] | None) -> None:
    assert parse_cuda(text) == facts


def test_a_driver_that_fails_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cuda_facts() is None
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    program.chmod(0o755)
    assert cuda_facts() is None
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 9.0'\n")
    assert cuda_facts() == {"name": "NVIDIA H200", "arch": "sm_90"}
