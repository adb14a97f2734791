"""``python -m benchmarks.text_contestant KIND PATH FOLDER THREADS``: one runtime in a process of its own, asked for
batches of texts over its standard input; so its memory is its own.

Each line of input is a question, each of output its answer, both JSON:
``{"batches": [[[id, ...], ...], ...]}`` is answered with the seconds each took, with ``"look": true`` added by the mean
of each text's token vectors; ``{"first": [[id, ...], ...]}``, asked first, with the seconds of the first call and the
median of those after it; ``{}`` with the bytes it holds and those it ever held.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import llama
from tuner.bench.runtimes import onnxruntime_session, openvino_compiled

ONNX, OPTIMISED, OPENVINO, GGUF = "model.onnx", "optimised.onnx", "openvino.xml", "model.gguf"  # of a model's folder
ABOUT = "about.json"
_LATER = 20  # calls after the first that it is compared with
Batch = Sequence[Sequence[int]]
Run = Callable[[Batch], Any]  # last hidden states: arrays of each text, or one padded array


def padded(batch: Batch, names: Sequence[str]) -> dict[str, np.ndarray]:
    """A batch as tokenizers give it: arrays ``(texts, longest)`` by name."""
    shape = (len(batch), max(map(len, batch)))
    found = {name: np.zeros(shape, np.int64) for name in names}
    for row, text in enumerate(batch):
        found["input_ids"][row, : len(text)] = text
        found["attention_mask"][row, : len(text)] = 1
    return found


def _ours(path: str, _folder: Path, _names: Sequence[str], _threads: int) -> Run:
    from rpc.lean import prepare_lean_import

    prepare_lean_import()  # as where PyTorch is not installed: TVM would load it
    from tuner.artifact.loader import load

    model = load(path)
    return lambda batch: model.run(input_ids=batch)["last_hidden_state"]


def _torch(path: str, folder: Path, names: Sequence[str], threads: int) -> Run:
    import torch

    from tuner.importers.huggingface import load_torch
    from tuner.importers.snapshot import borrowed
    from tuner.importers.source import resolve_source
    from tuner.importers.wrapper import variant

    torch.set_num_threads(threads)
    with borrowed(resolve_source(path), folder / "sources") as fetched:
        module = variant(load_torch(fetched, 0), "sdpa")

    def run(batch: Batch) -> Any:
        inputs = padded(batch, names)
        with torch.inference_mode():
            return module(*(torch.from_numpy(inputs[name]) for name in names))[0].numpy()

    return run


def _onnxruntime(file: str) -> Callable[[str, Path, Sequence[str], int], Run]:
    def make(_path: str, folder: Path, names: Sequence[str], threads: int) -> Run:
        session = onnxruntime_session(folder / file, threads)
        return lambda batch: session.run(None, padded(batch, names))[0]

    return make


def _openvino(_path: str, folder: Path, names: Sequence[str], threads: int) -> Run:
    compiled = openvino_compiled(folder / OPENVINO, threads, INFERENCE_PRECISION_HINT="f32")
    return lambda batch: compiled(padded(batch, names))[0]


def _llama_cpp(_path: str, folder: Path, _names: Sequence[str], threads: int) -> Run:
    return llama.Encoder(folder / GGUF, threads)


KINDS: dict[str, Callable[[str, Path, Sequence[str], int], Run]] = {
    "ours": _ours,
    "torch_sdpa": _torch,
    "onnxruntime": _onnxruntime(ONNX),
    "onnxruntime_optimised": _onnxruntime(OPTIMISED),
    "openvino": _openvino,
    "llama_cpp": _llama_cpp,
}


def _memory() -> dict[str, int]:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[key].split()[0]) * 1024 for name, key in (("now", "VmRSS"), ("peak", "VmHWM"))}


def _means(states: Any, batch: Batch) -> list[list[float]]:
    return [np.asarray(rows)[: len(text)].mean(axis=0).tolist() for rows, text in zip(states, batch, strict=True)]


def _seconds(run: Run, batch: Batch) -> float:
    start = time.perf_counter()
    run(batch)
    return time.perf_counter() - start


def _answer(run: Run, question: dict[str, Any]) -> dict[str, Any]:
    if "first" in question:
        first, *later = (_seconds(run, question["first"]) for _ in range(1 + _LATER))
        return {"first_sec": first, "median_sec": median(later)}
    if "batches" not in question:
        return _memory()
    seconds, means = list[float](), list[list[float]]()
    run(question["batches"][0])  # not counted: threads of whoever worked before still spin
    for batch in question["batches"]:
        start = time.perf_counter()
        states = run(batch)
        seconds.append(time.perf_counter() - start)
        if question.get("look"):
            means += _means(states, batch)
    return {"seconds": seconds, "means": means}


def main() -> None:
    """Entry of the process."""
    kind, path, folder, threads = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    start = time.perf_counter()
    run = KINDS[kind](path, folder, json.loads((folder / ABOUT).read_text())["inputs"], threads)
    print(json.dumps({"load_sec": time.perf_counter() - start}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(run, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
