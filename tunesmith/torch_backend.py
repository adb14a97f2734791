"""``torch.compile(model, backend="tunesmith")``: eager at once, tuned in the background, swapped in when ready."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch._dynamo.backends.registry import lookup_backend
from torch._dynamo.exc import InvalidBackend

from tuner.errors import InvalidInput
from tunesmith.captured import Captured
from tunesmith.swapping import AnyShape, Swapping, tell
from tunesmith.tuned_graphs import Wish, bring, get_ready

get_ready()  # who asks for this backend will want what it has kept
_fixed: list[Swapping] = []  # of all graphs of fixed shapes that are tuned, or may be


def tunesmith(
    graph: torch.fx.GraphModule, example: Sequence[Any], *, options: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """What PyTorch calls in a graph's place. ``options``: ``budget`` and ``service`` as ``tunesmith.optimize`` takes
    them, ``wait``, which waits until the graph is tuned, and ``meanwhile``, the backend of PyTorch that computes it
    until then, and that it has to be faster than.

    What can't be tuned stays with PyTorch, with one warning that says what and why. Raises InvalidInput for an option
    or a backend that there isn't.
    """
    wish = _wish(options or {})
    _tell_of_breaks(graph)
    captured = _captured(graph, example, wish.meanwhile)
    why = captured.why_not()
    if why is None:
        swapping = Swapping(captured)
        _fixed.append(swapping)
        bring(swapping, wish)
        return swapping
    tell(why)
    return AnyShape(captured, _fixed) if captured.sizes else captured.by_pytorch


def _wish(options: Mapping[str, Any]) -> Wish:
    known = [field.name for field in fields(Wish)]
    if unknown := sorted(set(options) - set(known)):
        raise InvalidInput(f"The backend tunesmith has no option {', '.join(unknown)}.", f"It has {', '.join(known)}.")
    return Wish(**options)


def _captured(graph: torch.fx.GraphModule, example: Sequence[Any], meanwhile: str | Callable[..., Any]) -> Captured:
    """The graph, and what computes it meanwhile: a backend of PyTorch, which may rewrite what it is given."""
    if meanwhile == "eager":
        return Captured(graph, example)
    ours = torch.fx.GraphModule(graph, copy.deepcopy(graph.graph))
    try:
        return Captured(ours, example, lookup_backend(meanwhile)(graph, list(example)))
    except InvalidBackend:
        raise InvalidInput(
            f"PyTorch has no backend {meanwhile!r}.", f"It has {', '.join(torch.compiler.list_backends())}."
        ) from None


def _tell_of_breaks(graph: torch.fx.GraphModule) -> None:
    reason = getattr(graph, "compile_subgraph_reason", None)
    if reason is not None and reason.graph_break:
        place = reason.user_stack[-1] if reason.user_stack else None
        where = f" at {place.filename}:{place.lineno}" if place else ""
        why = str(reason.reason).strip().partition("\n")[0]
        tell(f"PyTorch's compiler breaks the model{where} ({why}), and what stands there is not tuned")
