"""The comparison that decides whether an artifact is made."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tuner.importers.comparison import Comparison, compare, worst


def test_equal_outputs_have_no_error() -> None:
    value = {"y": np.array([1.0, -2.0, 0.0], np.float32)}
    assert compare(value, value) == Comparison(0.0, 0.0, True)


def test_rounding_near_zero_is_no_relative_error() -> None:
    want = {"y": np.array([1.0, -1.0, 1e-9], np.float32)}
    outcome = compare({"y": want["y"] + np.float32(1e-6)}, want)
    assert outcome.ok
    assert outcome.max_rel_error < 1e-5


def test_error_of_a_small_tensor_is_not_hidden_by_a_large_one() -> None:
    want = {"large": np.full(4, 100.0, np.float32), "small": np.full(4, 0.01, np.float32)}
    got = {"large": want["large"], "small": want["small"] * np.float32(1.01)}
    outcome = compare(got, want)
    assert not outcome.ok
    assert outcome.max_rel_error == pytest.approx(0.01, rel=1e-3)
    assert outcome.max_abs_error == pytest.approx(1e-4, rel=1e-3)


def test_tolerance_is_the_callers() -> None:
    want = {"y": np.ones(3, np.float32)}
    got = {"y": np.full(3, 1.01, np.float32)}
    assert not compare(got, want).ok
    assert compare(got, want, rtol=0.02).ok
    assert not compare(got, want, atol=0.02).ok


def test_outputs_as_small_as_the_absolute_tolerance_do_not_pass_as_zeros() -> None:
    want = {"y": np.full(3, 3e-6, np.float32)}
    assert not compare({"y": np.zeros(3, np.float32)}, want).ok
    assert compare(want, want).ok


def test_a_tensor_of_zeros_is_judged_by_the_absolute_tolerance() -> None:
    want = {"y": np.zeros(3, np.float32)}
    assert compare({"y": np.full(3, 1e-7, np.float32)}, want).ok
    assert not compare({"y": np.full(3, 1e-3, np.float32)}, want).ok


@pytest.mark.parametrize(
    "got",
    [
        {"y": np.array([1.0, np.nan], np.float32)},
        {"y": np.array([1.0, np.inf], np.float32)},
        {"y": np.ones((1, 2), np.float32)},
        {},
    ],
)
def test_nan_infinite_missing_and_misshapen_outputs_are_never_ok(got: dict[str, np.ndarray]) -> None:
    outcome = compare(got, {"y": np.ones(2, np.float32)}, rtol=1e9, atol=1e9)
    assert not outcome.ok
    assert math.isinf(outcome.max_abs_error)
    assert math.isinf(outcome.max_rel_error)


def test_nothing_compared_is_not_ok() -> None:
    assert not compare({}, {}).ok


def test_worst_sample_decides() -> None:
    assert worst([Comparison(1.0, 0.1, True), Comparison(0.5, 0.2, False)]) == Comparison(1.0, 0.2, False)
