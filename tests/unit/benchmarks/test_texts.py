"""The benchmark of texts: which texts, in which batches, whose turn it is, and what is concluded."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import Any, cast

import numpy as np
import pytest

from benchmarks import llama
from benchmarks.text_contest import Contestant, batches_of, check, make_texts, race
from benchmarks.text_contestant import padded
from benchmarks.texts import OURS, PEERS, absences, entry, left_out, table, together
from tuner.errors import StageFailed

TEXTS = make_texts(256, 30000, 11)


class Fake:
    """Takes a second for each token it is given, of its own."""

    def __init__(self, name: str, asked: list[tuple[str, int]], mean: float = 0.5) -> None:
        self.name, self.asked, self.mean = name, asked, mean

    def seconds(self, batches: Sequence[Sequence[list[int]]]) -> list[float]:
        self.asked.append((self.name, len(batches)))
        return [float(sum(map(len, batch))) for batch in batches]

    def means(self, batches: Sequence[Sequence[list[int]]]) -> np.ndarray:
        return np.full((sum(map(len, batches)), 4), self.mean)


def fakes(asked: list[tuple[str, int]], **means: float) -> dict[str, Contestant]:
    return {name: cast(Contestant, Fake(name, asked, mean)) for name, mean in means.items()}


def test_texts_are_always_the_same_and_as_long_as_is_said() -> None:
    lengths = [len(text) for text in TEXTS]
    assert make_texts(256, 30000, 11) == TEXTS
    assert (median(lengths), fmean(lengths)) == (pytest.approx(30, abs=1.5), pytest.approx(38, abs=2))
    assert max(lengths) <= 256


def test_each_mode_gives_every_text_once() -> None:
    for mode, size in (("alone", 1), ("mixed8", 8), ("sorted32", 32)):
        batches = batches_of(TEXTS, mode)
        assert {len(batch) for batch in batches} == {size}
        assert sorted(text for batch in batches for text in batch) == sorted(TEXTS)
    ends = [len(batch[-1]) for batch in batches_of(TEXTS, "sorted32")]
    assert ends == sorted(ends)


def test_contestants_take_turns_and_all_get_the_same() -> None:
    asked: list[tuple[str, int]] = []
    seconds = race(fakes(asked, ours=0, peer=0), batches_of(TEXTS, "mixed8"), passes=2)
    turns = asked[2:]  # the first are for warming up
    assert {frozenset(name for name, _ in turns[n : n + 2]) for n in range(0, len(turns), 2)} == {
        frozenset(("ours", "peer"))
    }
    assert len({tuple(turns[n : n + 2]) for n in range(0, len(turns), 2)}) == 2  # in either order
    assert seconds["ours"] == seconds["peer"]
    assert sum(seconds["ours"][0]) == sum(map(len, TEXTS))


def test_who_computes_something_else_does_not_take_part() -> None:
    check(fakes([], ours=0.5, torch_sdpa=0.5), TEXTS)
    with pytest.raises(StageFailed, match="ours computed something else"):
        check(fakes([], ours=0.6, torch_sdpa=0.5), TEXTS)
    with pytest.raises(StageFailed, match="ours computed something else"):
        check(fakes([], ours=float("nan"), torch_sdpa=0.5), TEXTS)


def test_half_precision_inside_is_told_by_its_cosine() -> None:
    found = check(fakes([], torch_sdpa=0.5, llama_cpp=0.503), TEXTS)
    assert found["max_abs_errors"]["llama_cpp"] == pytest.approx(0.003)
    assert found["cosines"]["llama_cpp"] == pytest.approx(1.0)
    with pytest.raises(StageFailed, match="llama_cpp computed something else"):
        check(fakes([], torch_sdpa=0.5, llama_cpp=-0.5), TEXTS)


def test_a_batch_is_one_decode_as_far_as_it_fits() -> None:
    batch = [[1] * 1000, [2] * 1000, [3] * 1000, *[[4]] * 33]
    parts = llama.in_decodes(batch)
    assert [text for part in parts for text in part] == batch
    assert [len(part) for part in parts] == [2, 32, 2]


def test_who_is_left_out_is_said_with_the_reason() -> None:
    assert left_out({"refused": {}}, has_llama=True) == {}
    absent = left_out({"refused": {}}, has_llama=False)
    assert absences([{"model": "bert", "left_out": absent}] * 3) == [
        "llama.cpp does not take part with bert: not installed: pip install 'tunesmith[llama]', which compiles it for "
        "some minutes"
    ]
    refused = {"llama_cpp": "it is not for this one"}
    assert left_out({"refused": refused}, has_llama=False) == refused


def test_a_peer_that_is_left_out_has_no_rate() -> None:
    seconds = {OURS: [[1.0]], "openvino": [[2.0]]}
    found = entry("bert", "alone", seconds, [[1] * 4] * 8, {OURS: 1, "openvino": 2})
    assert (found["peers"], found["peers_peak_bytes"]) == ({"openvino": 4.0}, {"openvino": 2})
    cells = [next(iter(column.cells)) for column in table([found]).columns]
    assert cells == ["bert", "alone", "8", *["–"] * 3, "4", "–", "2.00x"]


def test_padding_is_masked() -> None:
    found = padded([[5, 6, 7], [8]], ["input_ids", "attention_mask", "token_type_ids"])
    assert found["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_the_report_says_texts_a_second_and_how_they_compare() -> None:
    names = [OURS, *PEERS]
    seconds: dict[str, Any] = {name: [[1.0 + n, 1.0], [1.0 + n, 1.0]] for n, name in enumerate(names)}
    peaks = {name: 10 + n for n, name in enumerate(names)}
    found = entry("bert", "alone", seconds, [[1] * 4] * 8, peaks)
    assert (found["ours_texts_per_sec"], found["ours_tokens_per_sec"], found["ours_peak_bytes"]) == (4, 16, 10)
    assert found["peers"] == {name: round(8 / (3 + n), 2) for n, name in enumerate(PEERS)}
    assert found["peers_peak_bytes"] == {name: 11 + n for n, name in enumerate(PEERS)}
    assert list(table([found]).columns[-1].cells) == ["1.50x"]


def test_a_part_of_the_benchmark_takes_the_place_of_its_like_in_the_report() -> None:
    known = [{"model": "bert", "mode": "alone", "date": 1}, {"model": "bert", "mode": "mixed8", "date": 1}]
    found = [{"model": "bert", "mode": "alone", "date": 2}, {"model": "minilm", "mode": "alone", "date": 2}]
    assert together(known, found) == [found[0], known[1], found[1]]
