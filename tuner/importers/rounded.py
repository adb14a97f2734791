"""A model whose products PyTorch computes as the kernels of a lower precision do, a layer of it or all: what is lost
where, before anything is compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

_SENTENCES, _TOKENS, _BATCH = 8, 24, 8  # some seconds for all layers of a BERT-base, one after the other


def layer_losses(
    loaded: LoadedModel,
    lines: Sequence[str],
    tokens: int,
    precisions: Iterable[str],
    dots: Mapping[str, Dot],
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, LayerLosses]:
    """What each layer loses at each of some precisions, by the instructions ``dots`` that a target has for each; on
    some of the lines, cut off after a few ``tokens``. Without a precision for which a model has no such layers.
    ``say`` is told what is computed."""
    some = [lines[n * len(lines) // _SENTENCES] for n in range(_SENTENCES)] if len(lines) > _SENTENCES else [*lines]
    inputs = in_batches(loaded, some, min(_BATCH, len(some)), min(tokens, _TOKENS))

    def outputs() -> dict[str, np.ndarray]:
        return gathered(((reference_outputs(loaded, one), one["attention_mask"]) for one in inputs), len(some))

    want = outputs()

    def kept(names: Iterable[str], precision: str) -> float:
        """The cosine where these layers are rounded."""
        with _rounded([product for name in names for product in layers[precision][name]], dots[precision]):
            return round(fidelity(outputs(), want).cosine_mean, 6)

    layers = {precision: _layers(loaded, dot) for precision, dot in dots.items()}
    together = {precision: kept(found, precision) for precision, found in layers.items() if found}
    losses = {}
    for one in precisions:
        if layers[one]:
            say(f"computing what each of {len(layers[one])} layers would lose in {one}")
            alone = {name: kept([name], one) for name in layers[one]}
            spared = kept(layers[one].keys() - {worst_of(alone)}, one)
            others = {name: cosine for name, cosine in together.items() if name != one}
            losses[one] = LayerLosses(len(some), alone, together[one], spared, others)
    return losses


def product(rows: torch.Tensor, weight: torch.Tensor, dot: Dot) -> torch.Tensor:
    """``rows (..., depth)`` times ``weight (columns, depth)``, both rounded as a kernel of this instruction does."""
    if dot.sums == "float16":
        return torch.nn.functional.linear(_to_nine_bits(rows), _to_nine_bits(weight))
    return torch.nn.functional.linear(_ROWS[dot.left](rows, dot), _WEIGHTS[dot.precision](weight))


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
    def instead(module: torch.nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
        def forward(rows: torch.Tensor) -> torch.Tensor:
            found = product(rows, module.weight, dot)
            return found if module.bias is None else found + module.bias

        return forward

    with ExitStack() as restored:
        for one in products:
            one.forward = instead(one)
            restored.callback(delattr, one, "forward")
        yield


def _rows_to_numbers(rows: torch.Tensor, dot: Dot) -> torch.Tensor:
    """In a range of each row's own, but for the outlier that widens it most (``row_rounding.py``)."""
    lowest, highest = rows.min(-1, keepdim=True), rows.max(-1, keepdim=True)
    second_lowest = rows.scatter(-1, lowest.indices, torch.inf).amin(-1, keepdim=True)
    second_highest = rows.scatter(-1, highest.indices, -torch.inf).amax(-1, keepdim=True)
    is_high = highest.values - second_highest > second_lowest - lowest.values
    least = torch.where(is_high, lowest.values, second_lowest)
    most = torch.where(is_high, second_highest, highest.values)
    largest, _ = steps_of_a_row(rows.shape[-1], dot)
    scale = (most - least).clamp(min=LEAST_RANGE) / largest
    numbers = ((rows - least) / scale).add_(0.5).floor_().clamp_(0, largest).mul_(scale).add_(least)
    outlier = torch.where(is_high, highest.indices, lowest.indices)
    return numbers.scatter_(-1, outlier, rows.gather(-1, outlier))


def _weights_to_bytes(weight: torch.Tensor) -> torch.Tensor:
    """With a scale for each column of the product."""
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=LEAST_RANGE) / MOST_WEIGHT
    return (weight / scale).add_(0.5).floor_().mul_(scale)


def _to_nine_bits(values: torch.Tensor) -> torch.Tensor:
    """Rather than to a half's eleven: operands lose as much then as halves do where 64 products are added up in halves,
    each sum rounded, which would take too long to imitate."""
    mantissa, exponent = torch.frexp(values)
    return torch.ldexp((mantissa * 2**9).round() / 2**9, exponent)


_ROWS: dict[str, Any] = {
    "bfloat16": lambda rows, _: rows.bfloat16().float(),
    "float16": lambda rows, _: rows.half().float(),
    **dict.fromkeys(("uint8", "int8", "int16"), _rows_to_numbers),
}
_WEIGHTS: dict[str, Any] = {
    "bf16": lambda weight: weight.bfloat16().float(),
    "fp16": lambda weight: weight.half().float(),
    "int8": _weights_to_bytes,
}
