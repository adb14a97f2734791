"""What a model's outputs mean, as its configuration says it: for whoever runs it. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LABELLED = ("sequence-classification", "token-classification")


def decides(head: str) -> bool:
    """Is it the largest number that counts in outputs of this head: a label, a word, a place?"""
    return head not in ("", "encoder", "sentence-embedding")


def labels_of(head: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """``num_labels``, ``id2label`` and ``label2id``, and ``problem_type`` where it is said; nothing for other heads."""
    names = config.get("id2label")
    if head not in _LABELLED or not isinstance(names, Mapping):
        return {}
    found: dict[str, Any] = {
        "num_labels": len(names),
        "id2label": {str(number): str(name) for number, name in names.items()},
        "label2id": {str(name): int(number) for number, name in names.items()},
    }
    if problem := config.get("problem_type"):
        found["problem_type"] = str(problem)
    return found
