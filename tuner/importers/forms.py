"""Networks of the library in the form that is exported: the same numbers, by operators that the pipeline fuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar

import torch
from torch.nn import functional

from tuner.importers import deberta
from tuner.importers.families import FAMILIES, PADDING_BIAS

Network = TypeVar("Network", bound=torch.nn.Module)


def exportable(network: torch.nn.Module) -> torch.nn.Module:
    """A network that computes the same and shares the parameters, whose attention and activations are one operator each
    and whose norms have all their parameters; the network itself where it is like that already."""
    if not any(_is_bare(module) or type(module).__name__ in _METHODS for module in network.modules()):
        return network
    changed = twin(network)
    for module in changed.modules():
        if _is_bare(module):
            module.bias = torch.nn.Parameter(torch.zeros_like(module.weight))
        for name, method in _METHODS.get(type(module).__name__, {}).items():
            setattr(module, name, MethodType(method, module))
    return changed


def twin(network: Network) -> Network:
    """A copy that may be changed and shares the parameters and buffers."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, shared)


def mask(network: torch.nn.Module, padding: torch.Tensor) -> Any:
    """The masks as ``network`` takes them, of ``padding (batch, seq)``: 0 for what is seen, else below all scores."""
    config: Any = network.config
    kind = FAMILIES[config.model_type].mask
    if kind == "seen":
        return padding / PADDING_BIAS + 1.0
    everywhere = padding[:, None, None, :]
    if kind == "biases":
        return everywhere
    place = torch.arange(padding.shape[1])
    is_far = (place[:, None] - place[None, :]).abs() > config.sliding_window
    # Who sees nothing but padding in its window sees all of it alike, as in the library: the biases don't add up.
    window = torch.where(is_far, -PADDING_BIAS, 0.0)[None, None]
    return {"full_attention": everywhere, "sliding_attention": torch.minimum(everywhere, window)}


def _is_bare(module: Any) -> bool:
    return isinstance(module, torch.nn.LayerNorm) and module.weight is not None and module.bias is None


def _mpnet(
    self: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    output_attentions: bool = False,
    **_: Any,
) -> tuple[torch.Tensor]:
    """``MPNetSelfAttention.forward`` by one operator."""
    assert attention_mask is not None
    assert position_bias is not None
    assert not output_attentions
    heads = (*hidden_states.shape[:-1], -1, self.attention_head_size)
    query, key, value = (part(hidden_states).view(heads).transpose(1, 2) for part in (self.q, self.k, self.v))
    bias = position_bias + attention_mask
    context = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return (self.o(context.transpose(1, 2).reshape(hidden_states.shape)),)


def _gelu_tanh(_self: Any, hidden: torch.Tensor) -> torch.Tensor:
    return functional.gelu(hidden, approximate="tanh")


# By the name of a class of the library: the methods that are replaced, and by what.
_METHODS: dict[str, dict[str, Callable[..., Any]]] = {
    "MPNetSelfAttention": {"forward": _mpnet},
    "NewGELUActivation": {"forward": _gelu_tanh},
    "DebertaV2Encoder": {"get_attention_mask": deberta.padding_bias, "get_rel_pos": deberta.relative_positions},
    "DisentangledSelfAttention": {"forward": deberta.attention},
}
