"""Other runtimes as contestants, when they are installed: torch.compile, ONNX Runtime, OpenVINO, at each precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tuner.bench.graphs import written
from tuner.bench.runtimes import PACKAGES, Graph, how_to_install, opened
from tuner.errors import StageFailed
from tuner.importers.wrapper import variant

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel

Call = Callable[..., Any]


@dataclass(frozen=True)
class GraphCall:
    """Runs a graph on named ``inputs``, or on others of their shape that it is given."""

    graph: Graph
    names: tuple[str, ...]
    inputs: dict[str, Any]

    @property
    def precision(self) -> str:
        """What it computes in, as far as its runtime says."""
        return self.graph.precision

    def __call__(self, given: dict[str, Any] | None = None) -> Any:
        named = self.inputs if given is None else given
        return self.graph.call([named[name] for name in self.names])


def peer(kind: str, loaded: LoadedModel, inputs: dict[str, Any], threads: int, folder: Path) -> Call:
    """A call that runs the model on ``inputs``, or on others of their shape that it is given, with another runtime on
    ``threads`` threads: in float32, or as the end of ``kind`` says. What it is converted to is kept in ``folder``.

    Raises ``StageFailed`` when its package is not installed.
    """
    if command := how_to_install(PACKAGES.get(kind, ())):
        raise StageFailed(f"{kind} can't take part, it is not installed.", f"Run: {command}")
    if kind.startswith("torch"):
        return torch_call(torch_module(kind, loaded), loaded, inputs)
    graph = opened(kind, written(kind, folder, lambda: loaded, inputs), threads)
    return GraphCall(graph, loaded.input_names, inputs)


def torch_module(kind: str, loaded: LoadedModel) -> Callable[..., Any]:
    """The model by PyTorch, as a kind of contestant says; called like ``loaded.module``."""
    if kind == "torch-eager":
        return variant(loaded, "eager")
    module = variant(loaded, "sdpa")
    if kind == "torch-compile":
        compiled: Callable[..., Any] = torch.compile(module, options={"max_autotune": True, "freezing": True})
        return compiled
    return _in_bf16(module) if kind == "torch-bf16" else module


def _in_bf16(module: torch.nn.Module) -> Callable[..., Any]:
    """By autocast, as PyTorch's documentation advises for inference on a CPU."""

    def call(*tensors: torch.Tensor) -> list[torch.Tensor]:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            return [value.float() for value in module(*tensors)]

    return call


def torch_call(module: Callable[..., Any], loaded: LoadedModel, inputs: dict[str, Any]) -> Call:
    """A PyTorch module on named arrays."""

    def tensors(given: dict[str, Any]) -> list[torch.Tensor]:
        return [torch.from_numpy(given[name]) for name in loaded.input_names]

    ready = tensors(inputs)
    return lambda given=None: module(*(ready if given is None else tensors(given)))
