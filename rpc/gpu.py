"""The CUDA GPU of this machine, as its driver tells."""

from __future__ import annotations

import shutil
import subprocess

_DEADLINE_SEC = 10.0


def cuda_facts() -> dict[str, str] | None:
    """Name and architecture (``sm_90``) of the first CUDA GPU; None without one, or when its driver is silent."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DEADLINE_SEC)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_cuda(answer.stdout) if answer.returncode == 0 else None


def parse_cuda(text: str) -> dict[str, str] | None:
    """The first line of ``NVIDIA H200, 9.0`` and the like."""
    name, comma, capability = text.strip().partition("\n")[0].rpartition(",")
    if not comma:
        return None
    return {"name": name.strip(), "arch": "sm_" + capability.strip().replace(".", "")}
