"""What a classifier's numbers mean: probabilities, and which label. Numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.errors import InvalidInput

HEAD = "sequence-classification"


@dataclass(frozen=True)
class Answer:
    """What is made of a text: how likely each label is, the likeliest first."""

    text: str
    probabilities: dict[str, float]

    @property
    def label(self) -> str:
        """The likeliest."""
        return next(iter(self.probabilities))

    @property
    def score(self) -> float:
        """How likely that is."""
        return self.probabilities[self.label]

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {"text": self.text, "label": self.label, "score": self.score, "probabilities": self.probabilities}


def check_head(manifest: Mapping[str, Any]) -> None:
    """Raises InvalidInput for an artifact that tells no labels of a text."""
    head = manifest["model"].get("head")
    if head != HEAD:
        raise InvalidInput(
            f"This artifact has no labels for a text: its head is {head}.",
            f"Tune a classifier, or another head of it: tunesmith tune MODEL --head {HEAD}",
        )


def answer(text: str, logits: np.ndarray, manifest: Mapping[str, Any]) -> Answer:
    """The answer that ``logits (labels,)`` are, by the names that the manifest has for them."""
    values = probabilities(logits, manifest["model"].get("problem_type"))
    names = manifest["model"].get("id2label") or {}
    told = {str(names.get(str(number), f"LABEL_{number}")): float(value) for number, value in enumerate(values)}
    return Answer(text, dict(sorted(told.items(), key=lambda item: -item[1])))


def probabilities(logits: np.ndarray, problem_type: str | None = None) -> np.ndarray:
    """As the library's pipeline has them: of one label among many by softmax; of several at once, or of a single one,
    each by itself; of a regression the numbers as they are."""
    logits = logits.astype(np.float64)
    if problem_type == "regression":
        return logits
    if problem_type == "multi_label_classification" or len(logits) == 1:
        return 1.0 / (1.0 + np.exp(-logits))
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()
