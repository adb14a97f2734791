"""A graph as PyTorch's compiler hands it over: what of it are weights, what is given anew, and what it is known by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import torch

_DTYPES = (torch.float32, torch.int64, torch.int32, torch.bool)
_PARTS = ("torch", "apache-tvm", "tunesmith")  # another version of any may compute, or capture, otherwise


class Captured:
    """A graph with the values it was captured with: tensors that stay (``weights``, by position), tensors that each
    call gives (``given``: their positions) and sizes that change (``sizes``); ``by_pytorch`` computes it, which the
    graph itself does too."""

    def __init__(
        self, graph: torch.fx.GraphModule, example: Sequence[Any], by_pytorch: Callable[..., Any] | None = None
    ) -> None:
        self.graph = graph
        self.by_pytorch = by_pytorch or graph
        self.example = list(example)
        self.weights = {index: value for index, value in enumerate(example) if _stays(value)}
        self.sizes = [index for index, value in enumerate(example) if not isinstance(value, torch.Tensor)]
        self.given = [index for index in range(len(self.example)) if index not in {*self.weights, *self.sizes}]
        self._held = {**dict(graph.named_parameters()), **dict(graph.named_buffers())}
        self._versions = self._versions_now(self.example)

    def why_not(self) -> str | None:
        """Why it can't be tuned, as far as that is seen by looking at it; None: it may be."""
        if not self.weights and not self._held:
            return "it has no weights"
        if self.sizes:
            return "its shapes change from call to call; only those of its first call are tuned"
        tensors = [*self.weights.values(), *(self.example[index] for index in self.given), *self._held.values()]
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return "gradients are kept: call the model inside torch.inference_mode() or torch.no_grad()"
        if strangers := {str(tensor.device) for tensor in tensors if tensor.device.type != "cpu"}:
            return f"it is on {', '.join(sorted(strangers))}, and modules are tuned for the CPU here"
        if odd := {str(tensor.dtype) for tensor in tensors if tensor.dtype not in _DTYPES}:
            return f"it holds {', '.join(sorted(odd)).replace('torch.', '')}, and float32 is what is taken"
        return None

    def key(self) -> str:
        """Of its content: the operators, the shapes, the weights, and what they are computed with."""
        digest = hashlib.sha256(repr([metadata.version(name) for name in _PARTS]).encode())
        digest.update(self.graph.code.encode())
        for tensor in (*self.example, *(self._held[name] for name in sorted(self._held))):
            digest.update(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
        for tensor in (*self.weights.values(), *(self._held[name] for name in sorted(self._held))):
            digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:32]

    def closed(self) -> torch.nn.Module:
        """The graph with its weights inside, as a module of what each call gives."""
        return _Closed(self)

    def inputs(self) -> list[torch.Tensor]:
        """What was given when it was captured."""
        return [self.example[index] for index in self.given]

    def of(self, arguments: Sequence[Any]) -> list[torch.Tensor]:
        """What this call gives."""
        return [arguments[index] for index in self.given]

    def is_as_it_was(self, arguments: Sequence[Any]) -> bool:
        """Are the weights of this call those that were captured, unchanged."""
        same = all(arguments[index] is value for index, value in self.weights.items())
        return same and self._versions_now(arguments) == self._versions

    def arguments(self, inputs: Sequence[torch.Tensor]) -> list[Any]:
        """A call's arguments for what it gives."""
        arguments = list(self.example)
        for index, value in zip(self.given, inputs, strict=True):
            arguments[index] = value
        return arguments

    def is_the_same_for_other_sizes(self, other: Captured) -> bool:
        """Are both one network, captured with other shapes: the same operators on the same weights."""
        mine, its = list(self.weights.values()), list(other.weights.values())
        same = len(mine) == len(its) and all(one is two for one, two in zip(mine, its, strict=True))
        return same and _operators(self.graph) == _operators(other.graph)

    def _versions_now(self, arguments: Sequence[Any]) -> list[tuple[int, int]]:
        tensors = [arguments[index] for index in self.weights]
        return [_version(tensor) for tensor in (*tensors, *self._held.values())]


class _Closed(torch.nn.Module):
    def __init__(self, captured: Captured) -> None:
        super().__init__()
        self.graph, self.given, self.count = captured.graph, captured.given, len(captured.example)
        self.kept = [(index, f"weight{index}") for index in captured.weights]
        for index, name in self.kept:
            self.register_buffer(name, captured.weights[index].detach())

    def forward(self, *inputs: torch.Tensor) -> Any:
        arguments: list[Any] = [None] * self.count
        for index, name in self.kept:
            arguments[index] = getattr(self, name)
        for index, value in zip(self.given, inputs, strict=True):
            arguments[index] = value
        return self.graph(*arguments)


def _stays(value: Any) -> bool:
    """Parameters, and buffers as the compiler marks them."""
    return isinstance(value, torch.nn.Parameter) or hasattr(value, "_dynamo_static_input_type")


def _version(tensor: torch.Tensor) -> tuple[int, int]:
    """What changes when its values are written: by operators, or by putting others in their place."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version


def _operators(graph: torch.fx.GraphModule) -> list[str]:
    """What computes tensors, in order."""
    nodes = (node for node in graph.graph.nodes if node.op.startswith("call_"))
    return [str(node.target) for node in nodes if isinstance(node.meta.get("example_value"), torch.Tensor)]
