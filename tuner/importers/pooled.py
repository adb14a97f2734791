"""What turns a text's tokens into its embedding, as PyTorch modules: of padded sequences, and of texts in a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn import functional

from tuner.errors import ModelInvalid
from tuner.importers.folder import PICKLES, SAFETENSORS, pickle_refused
from tuner.importers.sentence import Dense, Norm, Pooling, Step

_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh,
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "identity": lambda value: value,
}
_FAR = 3e38  # below all that is seen


class Tail(torch.nn.Module):
    """The modules of a sentence-transformers model behind its encoder."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__()
        pooling, *rest = steps
        self.modes = cast(Pooling, pooling).modes
        self.rest = torch.nn.Sequential(*map(_module, rest))

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Embeddings ``(batch, features)`` of tokens ``(batch, seq, hidden)``, of which ``mask (batch, seq)`` is 1."""
        return cast(torch.Tensor, self.rest(_joined([_pool(hidden, mask, mode) for mode in self.modes])))

    def of_rows(self, rows: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Embeddings ``(texts, features)`` of ``rows (tokens, hidden)``, among which texts begin at ``starts``."""
        pooled = [torch.ops.tunesmith.pool_rows(rows, starts, mode) for mode in self.modes]
        return cast(torch.Tensor, self.rest(_joined(pooled)))


def load_tail(folder: Path, steps: Sequence[Step], width: int, allow_pickle: bool) -> Tail:
    """The modules with their weights, behind an encoder of this width. Raises ModelInvalid naming the file."""
    tail = Tail(steps).eval()
    width *= len(tail.modes)
    for step, module in zip(steps[1:], tail.rest, strict=True):
        if not isinstance(step, Dense | Norm):
            continue
        place = folder / step.folder
        takes = step.inputs if isinstance(step, Dense) else step.size
        if takes != width:
            raise ModelInvalid(
                f"{place / 'config.json'} means vectors of {takes} numbers, those before it have {width}.",
                "Check that both are of the same model.",
            )
        stored = _weights(place, allow_pickle)
        wanted = module.state_dict()
        if {name: value.shape for name, value in stored.items()} != {name: v.shape for name, v in wanted.items()}:
            raise ModelInvalid(
                f"The weights in {place} are {_shapes(stored)}; its config.json means {_shapes(wanted)}.",
                "Check that both are of the same model.",
            )
        module.load_state_dict({name: value.to(torch.float32) for name, value in stored.items()})
        width = step.outputs if isinstance(step, Dense) else width
    return tail


class _Dense(torch.nn.Module):
    def __init__(self, step: Dense) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(step.inputs, step.outputs, step.bias)
        self.activation = _ACTIVATIONS[step.activation]
        self.is_added = step.residual
        if step.residual and step.inputs != step.outputs:
            self.residual = torch.nn.Linear(step.inputs, step.outputs, bias=False)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        out = self.activation(self.linear(value))
        if not self.is_added:
            return out
        return out + (self.residual(value) if hasattr(self, "residual") else value)


class _Norm(torch.nn.Module):
    def __init__(self, step: Norm) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(step.size)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.norm(value))


class _Unit(torch.nn.Module):
    """As ``torch.nn.functional.normalize``, by operators that fuse."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value / torch.sqrt((value * value).sum(dim=-1, keepdim=True)).clamp(min=1e-12)


def _module(step: Step) -> torch.nn.Module:
    if isinstance(step, Dense):
        return _Dense(step)
    return _Norm(step) if isinstance(step, Norm) else _Unit()


def _joined(vectors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat(vectors, dim=-1) if len(vectors) > 1 else vectors[0]


def _pool(hidden: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """Of padded sequences, as sentence-transformers' ``Pooling``, wherever the padding is; all but ``max`` is a sum of
    tokens times weights."""
    seen = mask.to(torch.float32)
    if mode == "max":
        return (hidden + (seen - 1.0)[..., None] * _FAR).amax(dim=1)
    if mode in ("cls", "lasttoken"):
        return (hidden * _chosen(seen, mode)[..., None]).sum(dim=1)
    weights = seen * (_places(seen) - _before(seen)) if mode == "weightedmean" else seen
    size = weights.sum(dim=1, keepdim=True).clamp(min=1e-9)
    return (hidden * weights[..., None]).sum(dim=1) / (torch.sqrt(size) if mode == "mean_sqrt_len_tokens" else size)


def _chosen(seen: torch.Tensor, mode: str) -> torch.Tensor:
    """1 where the first or the last token that is seen lies; of a sequence without one, where it begins or nowhere."""
    place = _places(seen)
    wanted = _before(seen) + 1.0 if mode == "cls" else (seen * place).amax(dim=1, keepdim=True)
    return (place == wanted).to(torch.float32)


def _places(seen: torch.Tensor) -> torch.Tensor:
    return torch.arange(1, seen.shape[1] + 1, dtype=torch.float32)[None, :]


def _before(seen: torch.Tensor) -> torch.Tensor:
    """How many places lie before the first token that is seen, ``(batch, 1)``; 0 where there is none."""
    length = seen.shape[1]
    left = (seen * (length + 1.0 - _places(seen))).amax(dim=1, keepdim=True)
    return torch.where(left > 0, length - left, torch.zeros_like(left))


@torch.library.custom_op("tunesmith::pool_rows", mutates_args=())
def _pool_rows(rows: torch.Tensor, starts: torch.Tensor, mode: str) -> torch.Tensor:
    """Texts in a row, one after the other; what ``graph/pooling.py`` computes."""
    return torch.cat([_pool(text[None], torch.ones(1, len(text)), mode) for text in _texts(rows, starts)])


@_pool_rows.register_fake
def _(rows: torch.Tensor, starts: torch.Tensor, _mode: str) -> torch.Tensor:
    return rows.new_empty(starts.shape[0], rows.shape[1])


def _texts(rows: torch.Tensor, starts: torch.Tensor) -> Iterator[torch.Tensor]:
    bounds = [*starts.tolist(), len(rows)]
    for first, last in pairwise(bounds):
        yield rows[first:last]


def _weights(place: Path, allow_pickle: bool) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    try:
        if (place / SAFETENSORS).is_file():
            return load_file(place / SAFETENSORS)
        if not (place / PICKLES[0]).is_file():
            raise ModelInvalid(f"{place} has no {SAFETENSORS}.", "Download the model again.")
        if not allow_pickle:
            raise pickle_refused(str(place))
        found: dict[str, Any] = torch.load(place / PICKLES[0], map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelInvalid(f"The weights in {place} can't be read: {error}.", "Download the model again.") from error
    return found


def _shapes(tensors: dict[str, torch.Tensor]) -> str:
    return ", ".join(f"{name} {list(value.shape)}" for name, value in sorted(tensors.items()))
