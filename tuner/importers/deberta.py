"""DeBERTa's disentangled attention (He et al. 2021) as one operator with an additive bias; the library's numbers."""

from __future__ import annotations

from math import log, sqrt
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tuner.importers.families import PADDING_BIAS

_VECTOR = 16  # of the widest vectors, in float32


def padding_bias(_self: Any, seen: torch.Tensor) -> torch.Tensor:
    """For ``DebertaV2Encoder.get_attention_mask``: the additive mask of ``seen (batch, seq)``, which is 1 or 0."""
    return ((seen - 1.0) * PADDING_BIAS)[:, None, None, :]


def relative_positions(self: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor | None:
    """For ``DebertaV2Encoder.get_rel_pos``: buckets of query minus key ``(seq, seq)``, a constant of the graph."""
    if not self.relative_attention:
        return None
    length = int(hidden_states.shape[1])
    distance = np.arange(length)[:, None] - np.arange(length)[None, :]
    if self.position_buckets > 0:
        distance = buckets(distance, self.position_buckets, self.max_relative_positions)
    return torch.tensor(distance.tolist(), dtype=torch.int64)


def buckets(distance: np.ndarray, count: int, furthest: int) -> np.ndarray:
    """Distances as they are up to half of ``count``, beyond that by their logarithm, as the library's
    ``make_log_bucket_position``; int64."""
    middle = count // 2
    near = np.abs(distance) < middle
    size = np.where(near, middle - 1, np.abs(distance))
    scale = np.float32(log(np.float32((furthest - 1) / middle)))
    steps = np.log((size / middle).astype(np.float32)) / scale * np.float32(middle - 1)
    far = (np.ceil(steps) + middle) * np.sign(distance)
    return np.where(size <= middle, distance, far).astype(np.int64)


def attention(
    self: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor,
    output_attentions: bool = False,
    query_states: torch.Tensor | None = None,
    relative_pos: torch.Tensor | None = None,
    rel_embeddings: torch.Tensor | None = None,
) -> tuple[torch.Tensor, None]:
    """``DisentangledSelfAttention.forward``; the positions' own projections depend on weights only and are folded."""
    assert query_states is None
    assert not output_attentions
    heads = (*hidden_states.shape[:2], self.num_attention_heads, self.attention_head_size)
    projections = (self.query_proj, self.key_proj, self.value_proj)
    query, key, value = (part(hidden_states).view(heads).transpose(1, 2) for part in projections)
    kinds = [kind for kind in ("c2p", "p2c") if kind in self.pos_att_type]
    scale = 1.0 / sqrt(self.attention_head_size * (1 + len(kinds)))
    bias = attention_mask
    if relative_pos is not None and rel_embeddings is not None:
        for kind in kinds:
            bias = bias + scale * _by_position(self, kind, query, key, relative_pos, rel_embeddings)
    query = query * (1.0 / sqrt(1 + len(kinds)))  # not as the operator's own scale, which TVM's importer leaves out
    context = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return context.transpose(1, 2).reshape(hidden_states.shape), None


def _by_position(
    self: Any, kind: str, query: torch.Tensor, key: torch.Tensor, distance: torch.Tensor, embeddings: torch.Tensor
) -> torch.Tensor:
    """What the content of one side says of the position of the other: scores ``(batch, heads, seq, seq)``."""
    span, length = self.pos_ebd_size, int(distance.shape[0])
    first, count = _met(span, _reach(self, length))
    content, sign = (query, 1) if kind == "c2p" else (key, -1)
    if self.share_att_key:
        projection = self.key_proj if kind == "c2p" else self.query_proj
    else:
        projection = self.pos_key_proj if kind == "c2p" else self.pos_query_proj
    batch, heads, _, size = content.shape
    places = projection(embeddings[first : first + count]).view(count, heads, size)
    rows = content.transpose(0, 1).reshape(heads, batch * length, size)  # a head's of all texts: one product
    scores = torch.matmul(rows, places.permute(1, 2, 0)).view(heads, batch, length * count)
    found = (sign * distance + span).clamp(0, 2 * span - 1) - first + torch.arange(length)[:, None] * count
    if kind == "p2c":
        found = found.transpose(0, 1)  # of the key that a column is, what it says of the query's position
    return scores.index_select(-1, found.reshape(-1)).view(heads, batch, length, length).transpose(0, 1)


def _met(span: int, reach: int) -> tuple[int, int]:
    """The first of the ``2 * span`` positions that are scored, and how many: all that are met, and as many more as make
    whole vectors, where there are some."""
    first, last = max(span - reach, 0), min(span + reach, 2 * span - 1)
    count = min(-(-(last + 1 - first) // _VECTOR) * _VECTOR, 2 * span)
    return min(first, 2 * span - count), count


def _reach(self: Any, length: int) -> int:
    """The bucket of the largest distance in a sequence."""
    if self.position_buckets <= 0:
        return length - 1
    return int(buckets(np.array([length - 1]), self.position_buckets, self.max_relative_positions)[0])
