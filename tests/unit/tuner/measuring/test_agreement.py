"""An output is right in every row, and special values are where they are wanted."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.measuring.agreement import difference

WANTED = np.array([[1000.0, -500.0], [2.0, -1.0]], np.float32)


def test_rounding_is_no_difference() -> None:
    assert difference(WANTED * np.float32(1 + 1e-6), WANTED, 1e-4) == ""


def test_a_small_row_may_not_be_wrong_beside_a_large_one() -> None:
    wrong = np.array([[1000.0, -500.0], [-2.0, -1.0]], np.float32)
    assert "off by" in difference(wrong, WANTED, 1e-3)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("other", [np.nan, np.inf, -np.inf, 0.0])
def test_special_values_are_told_apart(special: float, other: float) -> None:
    wanted, got = np.full(3, special, np.float32), np.full(3, other, np.float32)
    agrees = other == special or (np.isnan(other) and np.isnan(special))
    assert (difference(got, wanted, 1e-4) == "") == agrees


def test_zeros_must_stay_zeros() -> None:
    zeros = np.zeros((2, 2), np.float32)
    assert difference(zeros, zeros, 1e-4) == ""
    assert difference(zeros + 1, zeros, 1e-4)
