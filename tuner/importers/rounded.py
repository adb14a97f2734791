"""A model whose products PyTorch computes as the kernels of a lower precision do, a layer of it or all: what is lost
where, before anything is compiled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tuner.importers.fidelity import fidelity, gathered
from tuner.importers.layers import LayerLosses, worst_of
from tuner.importers.reference import in_batches, reference_outputs
from tuner.kernels.dots import Dot
from tuner.kernels.precision import LEAST_COLUMNS
from tuner.kernels.row_rounding import LEAST_RANGE, MOST_WEIGHT, steps_of_a_row

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel

_SENTENCES, _TOKENS, _BATCH = 16, 32, 8  # a second or two of all layers of a BERT-base, one after the other


def layer_losses(
    loaded: LoadedModel, lines: Sequence[str], tokens: int, precision: str, dots: Mapping[str, Dot]
) -> LayerLosses | None:
    """What each layer loses at a precision, by the instructions ``dots`` that a target has for each; on some of the
    lines, cut off after a few ``tokens``. None for a model without such layers."""
    some = [lines[n * len(lines) // _SENTENCES] for n in range(_SENTENCES)] if len(lines) > _SENTENCES else [*lines]
    inputs = in_batches(loaded, some, min(_BATCH, len(some)), min(tokens, _TOKENS))
    layers = _layers(loaded, dots[precision])
    if not layers:
        return None

    def outputs() -> dict[str, np.ndarray]:
        return gathered(((reference_outputs(loaded, one), one["attention_mask"]) for one in inputs), len(some))

    want = outputs()

    def kept(names: Iterable[str], dot: Dot) -> float:
        """The cosine where these layers are rounded."""
        with _rounded([product for name in names for product in layers[name]], dot):
            return round(fidelity(outputs(), want).cosine_mean, 6)

    alone = {name: kept([name], dots[precision]) for name in layers}
    return LayerLosses(
        sentences=len(some),
        alone=alone,
        together=kept(layers, dots[precision]),
        spared=kept(layers.keys() - {worst_of(alone)}, dots[precision]),
        others={name: kept(layers, dot) for name, dot in dots.items() if name != precision},
    )


def product(rows: torch.Tensor, weight: torch.Tensor, dot: Dot) -> torch.Tensor:
    """``rows (..., depth)`` times ``weight (columns, depth)``, both rounded as a kernel of this instruction does."""
    return torch.nn.functional.linear(_ROWS[dot.precision](rows, dot), _WEIGHTS[dot.precision](weight))


def _layers(loaded: LoadedModel, dot: Dot) -> dict[str, list[torch.nn.Linear]]:
    """The products of each layer: of what a name has up to its last number, else of what it names."""
    found: dict[str, list[torch.nn.Linear]] = {}
    for name, module in loaded.module.network.named_modules():
        if isinstance(module, torch.nn.Linear) and _divides(module, dot):
            parts = name.split(".")
            numbers = [n for n, part in enumerate(parts) if part.isdecimal()]
            found.setdefault(".".join(parts[: numbers[-1] + 1] if numbers else parts), []).append(module)
    return found


def _divides(module: torch.nn.Linear, dot: Dot) -> bool:
    wide_enough = module.out_features >= LEAST_COLUMNS
    return wide_enough and module.in_features % (dot.group * dot.lanes) == module.out_features % dot.lanes == 0


@contextmanager
def _rounded(products: list[torch.nn.Linear], dot: Dot) -> Iterator[None]:
    def instead(module: Any, given: tuple[torch.Tensor, ...], _: torch.Tensor) -> torch.Tensor:
        found = product(given[0], module.weight, dot)
        return found if module.bias is None else found + module.bias

    with ExitStack() as hooks:
        for one in products:
            hooks.callback(one.register_forward_hook(instead).remove)
        yield


def _rows_to_numbers(rows: torch.Tensor, dot: Dot) -> torch.Tensor:
    """In a range of each row's own, but for the outlier that widens it most (``row_rounding.py``)."""
    lowest, highest = rows.topk(2, largest=False), rows.topk(2)
    above, below = highest.values[..., 0] - highest.values[..., 1], lowest.values[..., 1] - lowest.values[..., 0]
    is_high = above > below
    least = torch.where(is_high, lowest.values[..., 0], lowest.values[..., 1])[..., None]
    most = torch.where(is_high, highest.values[..., 1], highest.values[..., 0])[..., None]
    largest, _ = steps_of_a_row(rows.shape[-1], dot)
    scale = (most - least).clamp(min=LEAST_RANGE) / largest
    numbers = least + scale * ((rows - least) / scale + 0.5).floor().clamp(0, largest)
    outlier = torch.where(is_high, highest.indices[..., 0], lowest.indices[..., 0])[..., None]
    return numbers.scatter(-1, outlier, rows.gather(-1, outlier))


def _weights_to_bytes(weight: torch.Tensor) -> torch.Tensor:
    """With a scale for each column of the product."""
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=LEAST_RANGE) / MOST_WEIGHT
    return (weight / scale + 0.5).floor() * scale


_ROWS: dict[str, Any] = {"bf16": lambda rows, _: rows.bfloat16().float(), "int8": _rows_to_numbers}
_WEIGHTS: dict[str, Any] = {"bf16": lambda weight: weight.bfloat16().float(), "int8": _weights_to_bytes}
