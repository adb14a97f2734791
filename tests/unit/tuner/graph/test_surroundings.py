"""The graph around a kernel, from the launches of a model of two layers."""

from __future__ import annotations

import pytest

from tuner.graph.surroundings import Launch, Surroundings, around, patterns, told

LAUNCHES = [
    Launch("take", ("input_ids",), ("embeddings.word.weight",)),
    Launch("matmul", (0,), ("layer.0.query.weight", "layer.0.query.bias")),
    Launch("softmax", (1,), ()),
    Launch("matmul1", (2, 0), ("layer.0.output.weight",)),
    Launch("matmul", (3,), ("layer.1.query.weight", "layer.1.query.bias")),
    Launch("softmax", (4,), ()),
    Launch("matmul1", (5, 3), ("layer.1.output.weight",), is_output=True),
]
CALLED = {"take": "take", "matmul": "matmul", "softmax": "softmax", "matmul1": "matmul_add"}


def around_(name: str, *kernels: str) -> Surroundings:
    return around(LAUNCHES, kernels, name, CALLED)


def test_a_kernel_with_weights_says_which_layers_it_computes_and_what_is_around_it() -> None:
    found = around_("matmul_add", "matmul1")
    assert (found.launches, found.layers, found.near) == (2, ["layer.*.output (* = 0, 1)"], [])
    assert found.fed_by == {"softmax": 2, "take": 1, "matmul_add": 1}
    assert found.feeds == {"matmul": 1, "matmul_add": 1, "output": 1}


def test_one_without_weights_says_what_it_lies_between() -> None:
    found = around_("softmax", "softmax")
    assert found.layers == []
    assert found.near == ["layer.*.query (* = 0, 1)", "layer.*.output (* = 0, 1)"]


def test_what_a_model_reads_is_named() -> None:
    assert around_("take", "take").fed_by == {"input_ids": 1}


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (["layer.0.a.weight", "layer.0.a.bias"], ["layer.*.a (* = 0)"]),
        ([f"layer.{n}.a.weight" for n in range(12)], ["layer.*.a (* = 0 to 11)"]),
        (["pooler.weight"], ["pooler"]),
        (["bare"], ["bare"]),
    ],
)
def test_layers_that_differ_in_a_number_are_told_once(weights: list[str], said: list[str]) -> None:
    assert patterns(weights) == said


def test_it_is_told_as_text_and_drawn() -> None:
    one = around_("matmul_add", "matmul1")
    assert told(one, "text").splitlines()[:3] == [
        "matmul_add: 2 launches",
        "  computes     layer.*.output (* = 0, 1)",
        "  is fed by    softmax, 2 times",
    ]
    assert '"softmax" -> "matmul_add" [label="2"];' in told(one, "dot")
    drawn = told(one, "mermaid").splitlines()
    assert drawn[0] == "graph TD"
    assert sum("-->" in line for line in drawn) == len(one.fed_by) + len(one.feeds) - 1  # an edge to itself once
