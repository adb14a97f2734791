"""Start a benchmark process, follow it, and end it when nobody waits for it any more."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from rpc.facts import BIND_ENV, THREADS_ENV
from rpc.lifeline import python_module, told_env
from tuner.bench.spec import NO_SPACE, Result, Spec
from tuner.db.engine import storage_full
from tuner.errors import ProcessLost, StageFailed, all_error_classes

TIMEOUT_SEC = 1800.0
_TICK_SEC = 0.5
_LOG_TAIL_CHARS = 2000


def run_benchmark(
    spec: Spec, folder: Path, progress: Callable[[int, int], None] | None = None, timeout_sec: float = TIMEOUT_SEC
) -> Result:
    """Run one benchmark in a process of its own, with its files in ``folder``, and return what it measured.

    ``progress(done, total)`` is called at least every half second (``0, 0`` before the first round); what it raises
    ends the process and goes on to the caller: that is how to cancel. Raises the ``TunerError`` that the process
    met, or ``StageFailed`` when it dies or takes longer than ``timeout_sec``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spec_file, result_file, log_file = folder / "spec.json", folder / "result.json", folder / "log.txt"
    spec_file.write_text(spec.model_dump_json(indent=1))
    result_file.unlink(missing_ok=True)
    threads = str(spec.threads)
    limits = dict.fromkeys((THREADS_ENV, "OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    env = told_env(**limits, PYTHONUNBUFFERED="1")
    env.pop(BIND_ENV, None)  # how threads are bound an artifact's loader decides for itself
    command = python_module("tuner.bench.process", str(spec_file), str(result_file))
    with log_file.open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            _follow(process, progress or (lambda done, total: None), timeout_sec)
        finally:
            process.kill()
            process.wait()
    return _read_result(result_file, log_file, process.returncode)


def _follow(process: subprocess.Popen[str], progress: Callable[[int, int], None], timeout_sec: float) -> None:
    """Pass progress on until the process has closed its output and ended."""
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_pump, args=(process.stdout, lines), name="bench-output", daemon=True).start()
    deadline = time.monotonic() + timeout_sec
    overdue = StageFailed(f"The benchmark took longer than {timeout_sec:g} s.")
    done, total = 0, 0
    while True:
        if time.monotonic() > deadline:
            raise overdue
        try:
            line = lines.get(timeout=_TICK_SEC)
        except queue.Empty:
            line = ""
        if line is None:
            break
        words = line.split()
        if len(words) == 3 and words[0] == "progress":
            done, total = int(words[1]), int(words[2])
        progress(done, total)
    try:
        process.wait(timeout=max(deadline - time.monotonic(), 1.0))
    except subprocess.TimeoutExpired:
        raise overdue from None


def _pump(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _read_result(result_file: Path, log_file: Path, exit_code: int) -> Result:
    if not result_file.exists():
        if exit_code == NO_SPACE:
            raise storage_full(result_file)
        tail = log_file.read_text(errors="replace")[-_LOG_TAIL_CHARS:].strip()
        kind = StageFailed if tail and exit_code > 0 else ProcessLost  # killed, or kept from saying anything
        raise kind(f"The benchmark process ended with code {exit_code}.", f"Its last words: {tail}")
    result = Result.model_validate_json(result_file.read_bytes())
    if failure := result.error:
        classes = {cls.code: cls for cls in all_error_classes()}
        raise classes.get(failure.code, StageFailed)(failure.message, failure.hint)
    return result
