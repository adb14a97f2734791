"""Export a loaded network as a PyTorch graph that keeps the operators the graph pipeline fuses."""

from __future__ import annotations

import warnings

import torch
from torch.export import ExportedProgram

from tuner.importers.huggingface import LoadedModel
from tuner.importers.source import check_seq_len

_aten = torch.ops.aten

# Kept whole: taken apart, the importer sees transposes, powers and erf expressions that no pass joins again.
_KEPT = (
    _aten.linear.default,
    _aten.matmul.default,
    _aten.addmm.default,
    _aten.layer_norm.default,
    _aten.gelu.default,
    _aten.softmax.int,
    _aten.scaled_dot_product_attention.default,
)


def export(loaded: LoadedModel, batch: int, seq_len: int) -> ExportedProgram:
    """The network as an exported program with static shapes, inputs int32 ``(batch, seq_len)``.

    Raises ``SequenceTooLong`` when the position embeddings end before ``seq_len``.
    """
    check_seq_len(loaded.source.name, loaded.source.max_seq_len, seq_len)
    table = torch.export.default_decompositions()
    for operator in _KEPT:
        table.pop(operator, None)
    example = tuple(torch.ones((batch, seq_len), dtype=torch.int32) for _ in loaded.input_names)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*treespec.*")  # torch.export's own use
        return torch.export.export(loaded.module, example, strict=False).run_decompositions(table)
