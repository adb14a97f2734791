"""The process that has a device run an artifact, as the coordinator holds it."""

from __future__ import annotations

import subprocess

from rpc.lifeline import child_env, python_module
from tuner.jobs import child_end


class CheckChild:
    """One such process; it ends with ours."""

    def __init__(self, artifact_id: str, device_key: str) -> None:
        """Start it. Raises OSError."""
        argv = python_module("tuner.jobs.check_process", artifact_id, device_key)
        self._process = subprocess.Popen(argv, env=child_env(), stdin=subprocess.DEVNULL)

    @property
    def alive(self) -> bool:
        """Is more to come?"""
        return self._process.poll() is None

    def end(self) -> None:
        """End it, without waiting for that."""
        child_end.end(self._process, "check-end")
