"""What a profile of lengths says of where time goes."""

from __future__ import annotations

import pytest

from tuner.errors import InvalidInput
from tuner.lengths import POINTS, Lengths, default_mix, flops_of_text, of_range, of_texts, runs


def test_time_that_grows_as_tokens_do_comes_to_the_tokens_of_a_text() -> None:
    profile = default_mix(256)
    expected = sum(weight * point for weight, point in zip(profile.weights().tokens, POINTS, strict=True))
    assert expected == pytest.approx(profile.mean, rel=1e-6)


def test_arithmetic_is_that_of_the_profiles_texts() -> None:
    lengths, by_token = [16, 48], "float32[tokens,8], float32[8,8] -> float32[tokens,8]"
    assert flops_of_text(320.0, "matmul", by_token, lengths) == 320.0
    assert flops_of_text(320.0, "attention", by_token, lengths) == 320.0 * (0.25 + 2.25) / 2
    assert flops_of_text(320.0, "matmul", by_token.replace("tokens", "texts"), [64]) == 320.0
    assert flops_of_text(320.0, "matmul", by_token.replace("tokens", "128"), None) == 320.0


def test_each_way_to_give_texts_counts_as_much_as_the_others() -> None:
    weights = Lengths((32,) * 32).weights()
    assert weights.text == (0, 0, 1, 0, 0)  # by itself each has 32 tokens, whatever company it is in
    alone, eight = 1 / 2, 1 / 8 / 2
    assert weights.tokens[2] == pytest.approx(alone)
    assert weights.tokens[3] == pytest.approx(eight * (512 - 256) / (512 - 128))
    assert weights.tokens[4] == pytest.approx(eight * (256 - 128) / (512 - 128))


def test_what_exceeds_the_last_point_counts_as_a_multiple_of_it() -> None:
    weights = Lengths((200,) * 32).weights()
    assert weights.tokens[4] == pytest.approx((200 - 128) / (512 - 128) / 2 + 1600 / 512 / 8 / 2)


@pytest.mark.parametrize("sample", [default_mix(256).sample, tuple(range(4, 100)), (5,), (3, 9, 200)])
def test_a_few_texts_stand_for_all(sample: tuple[int, ...]) -> None:
    few = Lengths(sample).few(8)
    assert (len(few.sample), list(few.sample)) == (8, sorted(few.sample))
    assert few.sample[0] >= sample[0]
    assert few.sample[-1] <= sample[-1]


def test_what_a_benchmark_times_is_what_is_predicted() -> None:
    """A few texts are as long as the profile's, and weigh the sizes of kernels alike."""
    profile = default_mix(256)
    few = profile.few(8)
    assert few.mean == pytest.approx(profile.mean, rel=0.01)
    for kind in ("tokens", "texts", "text"):
        assert getattr(few.weights(), kind) == pytest.approx(getattr(profile.weights(), kind), abs=0.012)


def test_the_default_mix_has_its_median_and_mean() -> None:
    profile = default_mix(512)
    assert profile.sample[len(profile.sample) // 2] == 30
    assert profile.mean == pytest.approx(38, abs=1)


def test_texts_beyond_the_longest_count_as_that() -> None:
    assert of_texts([3, 900, 20], 512).sample == (3, 20, 512)


def test_a_range_is_as_likely_everywhere() -> None:
    sample = of_range("4:256", 512).sample
    assert (sample[0], sample[-1]) == (4, 256)
    assert sum(sample) / len(sample) == pytest.approx(130, abs=1)


@pytest.mark.parametrize("text", ["", "4", "0:9", "9:4", "a:b", "4:256:9", "-1:5"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no range of lengths"):
        of_range(text, 512)


def test_a_range_beyond_the_model_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at most 128 tokens"):
        of_range("4:256", 128)


def test_a_file_without_texts_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no text"):
        of_texts([], 128)


def test_runs_hold_no_more_than_they_may_and_cut_no_text() -> None:
    assert runs([5, 4, 9, 1], most=9) == [[5, 4], [9], [1]]
    assert runs([12, 1], most=9) == [[12], [1]]
