"""What the contestants of the tuning benchmark are told and answer: the same kernels, the same way of timing them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from rpc.facts import THREADS_ENV
from rpc.lifeline import child_env, python_module
from tuner.errors import StageFailed


class Kernel(BaseModel):
    """One workload to tune; ``evaluator`` is how our records say it is timed."""

    id: str
    name: str
    summary: str
    flops: float
    weight_bytes: int
    tir: str
    evaluator: dict[str, Any]


class Task(BaseModel):
    """Measure ``trials`` candidates of each kernel on the device at this tracker; ``target`` is TVM's JSON."""

    kernels: list[Kernel]
    target: dict[str, Any]
    trials: int
    tracker_port: int
    device_key: str


class Score(BaseModel):
    """Candidates tried, how many of them failed, and the wall time of it all, warm-up of builders included."""

    tried: int
    failed: int
    seconds: float
    best_us: dict[str, float]  # by kernel id

    @property
    def per_sec(self) -> float:
        """Candidates that got a time, a second."""
        return (self.tried - self.failed) / self.seconds


def compete(module: str, task: Task, folder: Path, timeout_sec: float) -> Score:
    """Let ``python -m module TASK SCORE FOLDER`` work on the task in a process of its own.

    Raises StageFailed when it ends without a score.
    """
    folder.mkdir(parents=True, exist_ok=True)
    task_file, score_file, log_file = folder / "task.json", folder / "score.json", folder / "log.txt"
    task_file.write_text(task.model_dump_json())
    score_file.unlink(missing_ok=True)
    env = {key: value for key, value in child_env().items() if key != THREADS_ENV}
    command = python_module(module, str(task_file), str(score_file), str(folder))
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            process.wait(timeout_sec)
        except subprocess.TimeoutExpired:
            raise StageFailed(f"{module} took longer than {timeout_sec:g} s.", f"See {log_file}.") from None
        finally:
            process.kill()
            process.wait()
    if not score_file.exists():
        raise StageFailed(f"{module} ended with code {process.returncode} and no score.", f"See {log_file}.")
    return Score.model_validate_json(score_file.read_bytes())


def hand_in(score: Score, path: Path) -> None:
    """Write the score in one step."""
    draft = path.with_suffix(".part")
    draft.write_text(score.model_dump_json(indent=1))
    os.replace(draft, path)
