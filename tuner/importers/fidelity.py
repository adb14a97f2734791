"""What a lower precision loses, on sentences: is the meaning still the one that the model in float32 sees? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

NEIGHBOURS = 10
# The least mean and the least single cosine to float32 that an artifact may have.
BOUNDS = {"bf16": (0.999, 0.99), "fp16": (0.999, 0.99), "int8": (0.99, 0.97)}


@dataclass(frozen=True)
class Fidelity:
    """How near outputs are to float32's.

    Cosines are between each sentence's vectors: an output's row, or the mean over its tokens where an output has one
    for each. ``neighbours`` is the part of each sentence's ``NEIGHBOURS`` nearest others that are the same,
    ``decisions`` the part of places where the largest number stands where it stood: a classifier's label, a filled
    mask. Both are from 0 to 1. ``own_neighbours`` is the same of the user's texts, among themselves; None without some.
    """

    sentences: int
    cosine_mean: float
    cosine_min: float
    max_abs_error: float
    neighbours: float
    decisions: float
    own_neighbours: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {name: round(value, 6) for name, value in asdict(self).items() if value is not None}

    def drop(self, has_labels: bool) -> float:
        """What is lost, 0..1: of the mean cosine or, where outputs are labels, of those, whichever is more."""
        return max(1.0 - self.cosine_mean, 1.0 - self.decisions if has_labels else 0.0)

    def refusal(self, precision: str, max_drop: float | None = None, has_labels: bool = False) -> str:
        """Why a module of this precision may not be so far off; empty: it may."""
        mean, least = BOUNDS[precision]
        if self.cosine_mean < mean or self.cosine_min < least:
            return (
                f"cosine {self.cosine_mean:.4f} in the mean and {self.cosine_min:.4f} at worst; at least {mean:g} and "
                f"{least:g} are asked for"
            )
        if max_drop is None or self.drop(has_labels) <= max_drop:
            return ""
        lost = f"{self.cosine_mean:.5f} in the mean" + (f", {self.decisions:.2%} of labels" if has_labels else "")
        return f"cosine {lost}, which is a drop of {self.drop(has_labels):.2%}; at most {max_drop:.2%} is asked for"


def fidelity(got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], own: int = 0) -> Fidelity:
    """Compare what ``gathered`` gives of both, the worst of all outputs; the first ``own`` texts are the user's. Raises
    KeyError when an output is missing."""
    pairs = [(got[name], value) for name, value in want.items() if not name.endswith(_DECISIONS)]
    found = [_of_output(*pair) for pair in pairs]
    decided = [_decided_alike(got[name], value) for name, value in want.items() if name.endswith(_DECISIONS)]
    return Fidelity(
        sentences=len(next(iter(want.values()))),
        cosine_mean=min(float(cosines.mean()) for cosines, _, _ in found),
        cosine_min=min(float(cosines.min()) for cosines, _, _ in found),
        max_abs_error=max(error for _, error, _ in found),
        neighbours=min(kept for *_, kept in found),
        decisions=float(min(decided)),
        own_neighbours=min(neighbours_kept(mine[:own], right[:own]) for mine, right in pairs) if own > 1 else None,
    )


_DECISIONS = ".decisions"


def gathered(
    outputs: Iterable[tuple[Mapping[str, np.ndarray], np.ndarray]], texts: int | None = None
) -> dict[str, np.ndarray]:
    """Of batches of outputs, each with its attention mask, what is compared: a vector for each text of each output,
    and, as ``NAME.decisions``, the position of the largest number in each row, -1 where it is padding.

    Of the first so many ``texts``, where others fill up the last batch.
    """
    found: dict[str, list[np.ndarray]] = {}
    for named, mask in outputs:
        for name, value in named.items():
            exact, decided = value.astype(np.float32), value.argmax(axis=-1).astype(np.int32)
            if exact.ndim == 3:
                kept = mask.astype(np.float32)[..., None]
                exact = (exact * kept).sum(axis=1) / np.maximum(kept.sum(axis=1), 1.0)
                decided = np.where(mask > 0, decided, -1)
            found.setdefault(name, []).extend(exact)
            found.setdefault(name + _DECISIONS, []).extend(decided)
    return {name: _stacked(rows)[:texts] for name, rows in found.items()}


def _stacked(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of decisions may be of different lengths."""
    longest = max(row.size for row in rows)
    same = [np.pad(row, (0, longest - row.size), constant_values=-1) if row.ndim else row for row in rows]
    return np.stack(same)


def _decided_alike(got: np.ndarray, want: np.ndarray) -> float:
    """Of places that are no padding, of which the two may have more or fewer."""
    both = tuple(slice(min(extents)) for extents in zip(got.shape, want.shape, strict=True))
    seen = want[both] >= 0
    return float(np.mean(got[both][seen] == want[both][seen]))


def _of_output(got: np.ndarray, want: np.ndarray) -> tuple[np.ndarray, float, float]:
    error = float(np.abs(got - want).max(initial=0.0)) if np.isfinite(got).all() else float("inf")
    cosines = _cosines(np.nan_to_num(got), want)
    return np.diagonal(cosines), error, neighbours_kept(got, want)


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return _unit(one) @ _unit(other).T


def _unit(rows: np.ndarray) -> np.ndarray:
    exact = rows.astype(np.float64)
    return exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def neighbours_kept(got: np.ndarray, want: np.ndarray) -> float:
    """Of each row's nearest others, the part that is the same."""
    got = np.nan_to_num(got)
    count = min(NEIGHBOURS, len(want) - 1)
    if count < 1:
        return 1.0
    pairs = zip(_nearest(got, count), _nearest(want, count), strict=True)
    return sum(len(mine & theirs) for mine, theirs in pairs) / (count * len(want))


def _nearest(rows: np.ndarray, count: int) -> list[set[int]]:
    alike = _cosines(rows, rows)
    np.fill_diagonal(alike, -np.inf)
    return [set(order[:count].tolist()) for order in np.argsort(-alike, axis=1, kind="stable")]
