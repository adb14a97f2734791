"""Opens contestants that this Python can run, in a process of their own: ``tuner.bench.contestant`` starts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuner.bench.turns import Arrays, Opened, Order, Turns


def prepare() -> None:
    """Nothing is loaded beforehand: what loading takes is part of what is timed."""


def _opened(order: Order) -> Opened:
    kind = order["kind"]
    if kind == "tvm":
        return _artifact(order)
    return _torch(order) if kind.startswith("torch") else _graph(order)


def _artifact(order: Order) -> Opened:
    from rpc.lean import without_torch
    from tuner.artifact.loader import load

    with without_torch():  # where it is installed, TVM would load it, which is no cost of an artifact's
        runner = load(order["place"])
    outputs = [spec["name"] for spec in runner.outputs]

    def ready(batch: Arrays) -> Callable[[], Any]:
        if not runner.manifest.get("texts"):
            return runner.bound(**{spec["name"]: batch[spec["name"]] for spec in runner.inputs})
        lengths = batch["attention_mask"].sum(axis=1)
        texts = [ids[:length] for ids, length in zip(batch["input_ids"], lengths, strict=True)]
        return lambda: runner.run(input_ids=texts)

    return Opened(ready, outputs)


def _torch(order: Order) -> Opened:
    import torch

    from tuner.bench.peers import torch_module
    from tuner.importers.huggingface import load_torch
    from tuner.importers.snapshot import Fetched
    from tuner.importers.source import ModelSource

    torch.set_num_threads(order["threads"])
    folder = order["folder"]
    loaded = load_torch(Fetched(ModelSource(**order["source"]), Path(folder) if folder else None), order["seed"])
    module = torch_module(order["kind"], loaded)

    def ready(batch: Arrays) -> Callable[[], Any]:
        tensors = [torch.from_numpy(batch[name]) for name in loaded.input_names]

        def call() -> Any:
            with torch.inference_mode():
                return module(*tensors)

        return call

    return Opened(ready, loaded.output_names)


def _graph(order: Order) -> Opened:
    from tuner.bench.runtimes import opened

    graph = opened(order["kind"], Path(order["place"]), order["threads"])
    names = order["inputs_of_graph"] or list(graph.inputs)  # none: it is somebody's own
    outputs = order["outputs"] if order["inputs_of_graph"] else graph.outputs

    def ready(batch: Arrays) -> Callable[[], Any]:
        if missing := [name for name in names if name not in batch]:
            raise ValueError(f"it wants an input {missing[0]!r}; there are {', '.join(batch)}")
        arrays = [
            np.ascontiguousarray(batch[name], dtype) for name, dtype in zip(names, graph.inputs.values(), strict=True)
        ]
        return lambda: graph.call(arrays)

    return Opened(ready, outputs, graph.precision)


answer = Turns(_opened).answer
