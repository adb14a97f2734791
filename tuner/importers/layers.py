"""Which layer a lower precision loses most in, and what would help. Pure: figures and words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerLosses:
    """Mean cosines to float32 on so many ``sentences``: of each layer where its products ``alone`` are rounded, where
    all layers' are ``together``, where all are but those of the worst layer, which is ``spared``, and where all are
    rounded to the ``others`` that a target has."""

    sentences: int
    alone: dict[str, float]
    together: float
    spared: float
    others: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self) | {"worst": worst_of(self.alone)}


def worst_of(alone: Mapping[str, float]) -> str:
    """The layer that loses most by itself."""
    return min(alone, key=alone.__getitem__)


def where_lost(losses: Mapping[str, Any]) -> str:
    """What a person should know of it, of ``LayerLosses.as_dict``."""
    worst = losses["worst"]
    return (
        f"{worst} loses most: cosine {losses['alone'][worst]:.5f} where it alone is rounded, {losses['spared']:.5f} "
        f"where all others are, {losses['together']:.5f} where all are"
    )


def what_changed(found: Mapping[str, Any]) -> str:
    """Of a manifest's ``fidelity``, beside cosines: ranks, labels, the largest difference, and where most was lost."""
    parts = [f"{found['neighbours']:.1%} of nearest neighbours kept"]
    if "own_neighbours" in found:
        parts.append(f"{found['own_neighbours']:.1%} among your own texts")
    if found.get("has_labels"):
        parts.append(f"{found['decisions']:.1%} of labels")
    if "max_abs_error" in found:
        parts.append(f"the largest difference {found['max_abs_error']:.1e}")
    return ", ".join(parts) + (f"; {where_lost(found['layers'])}" if found.get("layers") else "")


def what_helps(losses: Mapping[str, Any]) -> str:
    """What loses less, the best last resort without figures; of ``LayerLosses.as_dict`` or of nothing."""
    better = {name: kept for name, kept in losses.get("others", {}).items() if kept > losses["together"]}
    if not better:
        return "Submit it with --precision fp32, which loses nothing."
    name = max(better, key=better.__getitem__)
    return f"Submit it with --precision {name}, which keeps a cosine of {better[name]:.5f}; fp32 loses nothing."
