"""Which cases the benchmark of families takes."""

from __future__ import annotations

import pytest

from benchmarks.families import ALL, SHAPES, FamilyCase, best_peer, chosen
from benchmarks.family_models import HEADS, SIZE, config_of
from tuner.errors import InvalidInput
from tuner.importers.families import FAMILIES


def test_all_is_each_family_and_head_that_the_library_has_at_four_shapes() -> None:
    cases = chosen(ALL, ALL, SHAPES)
    assert len(cases) == len(set(cases)) == 4 * (len(FAMILIES) * len(HEADS) - 2)
    assert [case.family for case in cases[: len(FAMILIES)]] == list(FAMILIES), "each family first, at its first shape"


def test_some_are_chosen_by_name() -> None:
    assert chosen("bert,albert", "encoder", "8x32") == [
        FamilyCase("bert", "encoder", 8, 32),
        FamilyCase("albert", "encoder", 8, 32),
    ]
    for words in (("berd", ALL, SHAPES), (ALL, "tail", SHAPES), (ALL, ALL, "8 by 32")):
        with pytest.raises(InvalidInput):
            chosen(*words)


def test_the_best_peer_is_the_fastest() -> None:
    assert best_peer({"onnxruntime_ms": 2.0, "openvino_f32_ms": 1.5}) == 1.5


def test_each_family_has_the_same_size() -> None:
    for family in FAMILIES:
        config = config_of(family)
        assert (config.get("hidden_size") or config["dim"]) == SIZE["hidden"]
        assert (config.get("num_hidden_layers") or config["n_layers"]) == SIZE["layers"]
