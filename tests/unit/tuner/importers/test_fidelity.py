"""How near outputs at a lower precision are to those in float32."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.importers.fidelity import Fidelity, fidelity, gathered


def batch(seed: int, texts: int = 12, tokens: int = 4) -> tuple[dict[str, np.ndarray], np.ndarray]:
    numbers = np.random.default_rng(seed)
    mask = np.ones((texts, tokens), np.int32)
    mask[:, -1] = 0
    return {"states": numbers.normal(size=(texts, tokens, 8)), "logits": numbers.normal(size=(texts, 3))}, mask


def test_the_same_outputs_lose_nothing() -> None:
    found = gathered([batch(1), batch(2)])
    assert fidelity(found, found) == Fidelity(24, pytest.approx(1.0), pytest.approx(1.0), 0.0, 1.0, 1.0)


def test_padding_counts_for_nothing() -> None:
    outputs, mask = batch(1)
    other = {name: value.copy() for name, value in outputs.items()}
    other["states"][:, -1] += 100.0
    one, two = gathered([(outputs, mask)]), gathered([(other, mask)])
    assert fidelity(two, one).cosine_min == pytest.approx(1.0)
    assert fidelity(two, one).decisions == 1.0


def test_places_of_padding_are_none_that_could_agree() -> None:
    outputs, mask = batch(1)
    other = outputs | {"states": -outputs["states"]}
    padded = {
        name: np.pad(value, ((0, 0), (0, 9), (0, 0))) if value.ndim == 3 else value for name, value in other.items()
    }
    found = gathered([(padded, np.pad(mask, ((0, 0), (0, 9))))])
    assert fidelity(found, gathered([(outputs, mask)])).decisions == 0.0
    assert fidelity(found, gathered([(other, mask)])) == fidelity(found, found)


def test_the_worst_output_counts() -> None:
    outputs, mask = batch(1)
    other = outputs | {"logits": -outputs["logits"]}
    found = fidelity(gathered([(other, mask)]), gathered([(outputs, mask)]))
    assert found.cosine_mean == pytest.approx(-1.0)
    assert found.decisions == 0.0
    assert found.max_abs_error == pytest.approx(2 * np.abs(outputs["logits"]).max(), rel=1e-5)


def test_texts_that_change_places_lose_their_neighbours() -> None:
    outputs, mask = batch(1, texts=40)
    mixed = {name: value[np.random.default_rng(0).permutation(len(value))] for name, value in outputs.items()}
    assert fidelity(gathered([(mixed, mask)]), gathered([(outputs, mask)])).neighbours < 0.6


def test_the_users_own_texts_are_ranked_among_themselves() -> None:
    outputs, mask = batch(1, texts=40)
    mixed = {name: np.concatenate([value[:20][::-1], value[20:]]) for name, value in outputs.items()}
    one, two = gathered([(outputs, mask)]), gathered([(mixed, mask)])
    assert fidelity(two, one).own_neighbours is None
    assert "own_neighbours" not in fidelity(two, one).as_dict()
    changed = fidelity(two, one, own=20)
    assert changed.own_neighbours is not None
    assert changed.own_neighbours < 0.8
    others = {name: value[np.r_[0:20, 39:19:-1]] for name, value in outputs.items()}
    assert fidelity(gathered([(others, mask)]), one, own=20).own_neighbours == 1.0


def test_what_is_no_number_is_infinitely_far() -> None:
    outputs, mask = batch(1)
    other = {name: value.copy() for name, value in outputs.items()}
    other["logits"][3, 1] = np.nan
    found = fidelity(gathered([(other, mask)]), gathered([(outputs, mask)]))
    assert found.max_abs_error == float("inf")


@pytest.mark.parametrize(
    ("precision", "mean", "least", "allowed"),
    [
        ("bf16", 0.9995, 0.995, True),
        ("bf16", 0.995, 0.995, False),
        ("int8", 0.995, 0.98, True),
        ("int8", 0.999, 0.9, False),
    ],
)
def test_both_bounds_hold(precision: str, mean: float, least: float, allowed: bool) -> None:
    assert (Fidelity(200, mean, least, 0.1, 1.0, 1.0).refusal(precision) == "") is allowed


@pytest.mark.parametrize(
    ("max_drop", "has_labels", "reason"),
    [
        (None, True, ""),
        (0.01, False, ""),
        (0.004, False, "a drop of 0.50%; at most 0.40% is asked for"),
        (0.01, True, "97.00% of labels, which is a drop of 3.00%"),
    ],
)
def test_what_is_lost_at_most_can_be_asked_for(max_drop: float | None, has_labels: bool, reason: str) -> None:
    assert reason in (found := Fidelity(200, 0.995, 0.98, 0.1, 1.0, 0.97).refusal("int8", max_drop, has_labels))
    assert bool(found) is bool(reason)
