"""ONNX Runtime and OpenVINO as everybody here opens them. Loads a runtime when it is asked for, nothing before."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def how_to_install(packages: Iterable[str]) -> str | None:
    """The command that brings those of the packages that are not here; None: all are."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"pip install {' '.join(missing)}" if missing else None


def onnxruntime_session(model: bytes | Path, threads: int) -> Any:
    """A session of ONNX Runtime on the CPU, for a graph or its file."""
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def openvino_compiled(model: Any, threads: int, **hints: str) -> Any:
    """A model, or a file with one, compiled by OpenVINO for calls one after the other; without a hint in the precision
    that it takes by itself: bf16 where the CPU has instructions for it."""
    given = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **hints}
    return importlib.import_module("openvino").compile_model(model, "CPU", given)
