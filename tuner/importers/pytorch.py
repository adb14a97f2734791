"""Export a loaded network as a PyTorch graph that keeps the operators the graph pipeline fuses."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.export import Dim, ExportedProgram

from tuner.importers.source import check_seq_len
from tuner.importers.wrapper import RaggedModule

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel

_aten = torch.ops.aten

# Kept whole: taken apart, the importer sees transposes, powers and erf expressions that no pass joins again.
_KEPT = (
    _aten.linear.default,
    _aten.matmul.default,
    _aten.addmm.default,
    _aten.layer_norm.default,
    _aten.gelu.default,
    _aten.silu.default,
    _aten.softmax.int,
    _aten.scaled_dot_product_attention.default,
)

# Ids, positions and starts of three texts; no two extents are alike, so that the exporter takes none for another.
_EXAMPLE = ([1, 1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 2, 0, 1], [0, 2, 5])


def export(loaded: LoadedModel, batch: int, seq_len: int) -> ExportedProgram:
    """The network as an exported program with static shapes, inputs int32 ``(batch, seq_len)``.

    Raises ``SequenceTooLong`` when the position embeddings end before ``seq_len``.
    """
    check_seq_len(loaded.source.name, loaded.source.max_seq_len, seq_len)
    example = tuple(torch.ones((batch, seq_len), dtype=torch.int32) for _ in loaded.input_names)
    return _exported(loaded.module, example)


def export_texts(loaded: LoadedModel, most_tokens: int) -> ExportedProgram:
    """The network as a program over texts of any lengths, one after the other; inputs are ``RaggedModule``'s, up to
    ``most_tokens`` at a time."""
    module = RaggedModule(loaded.network, loaded.output_names, loaded.module.tail).eval()
    example = [torch.tensor(values, dtype=torch.int32) for values in _EXAMPLE]
    tokens, texts = (Dim(name, min=2, max=most_tokens) for name in ("tokens", "texts"))
    dims: list[dict[int, Any]] = [{0: tokens}, {0: tokens}, {0: texts}]
    if "token_type_ids" in loaded.input_names:
        example.append(torch.zeros_like(example[0]))
        dims.append({0: tokens})
    return _exported(module, tuple(example), tuple(dims))


def _exported(module: torch.nn.Module, example: tuple[torch.Tensor, ...], dims: Any = None) -> ExportedProgram:
    with torch.no_grad(), _unwarned():
        return torch.export.export(module, example, dynamic_shapes=dims, strict=False)


def taken_apart(program: ExportedProgram) -> ExportedProgram:
    """The program in fewer kinds of operators, and none that writes to its arguments. It is traced anew for that, which
    takes longer than an export."""
    with torch.no_grad(), _unwarned():
        return program.run_decompositions(kept_whole())


@contextmanager
def _unwarned() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*treespec.*")  # torch.export's own use
        yield


def kept_whole() -> Any:
    """How operators are taken apart: as PyTorch does, but those that the graph pipeline fuses."""
    table = torch.export.default_decompositions()
    for operator in _KEPT:
        table.pop(operator, None)
    return table
