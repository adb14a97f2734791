"""Vectors of texts from what an artifact gives."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.client.vectors import similarities, vector
from tuner.errors import InvalidInput

ROWS = np.array([[3.0, 0.0], [3.0, 8.0]], np.float32)


def test_a_models_own_vector_is_taken_as_it_is() -> None:
    own = np.array([2.0, 0.0], np.float32)
    assert vector({"sentence_embedding": own}, "mean") is own


@pytest.mark.parametrize(("pooling", "wanted"), [("mean", [0.6, 0.8]), ("cls", [1.0, 0.0])])
def test_tokens_are_pooled_to_length_one(pooling: str, wanted: list[float]) -> None:
    np.testing.assert_allclose(vector({"last_hidden_state": ROWS}, pooling), wanted)


def test_outputs_that_are_no_vector_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="gives logits"):
        vector({"logits": ROWS}, "mean")


def test_similarity_knows_no_length() -> None:
    found = similarities(np.array([[1.0, 0.0], [5.0, 0.0], [0.0, -2.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found[:3, :3], [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
