"""Whoever names kernels gets those tuned, and is told what they are called if none is."""

from __future__ import annotations

import pytest

from tuner.errors import InvalidInput
from tuner.jobs.choice import Choice

KERNELS = [("matmul_add", "wl-1"), ("matmul_add_gelu", "wl-2"), ("softmax", "wl-3"), ("softmax", "wl-4")]


def tuned(only: list[str], skip: list[str]) -> str:
    choice = Choice(only, skip)
    choice.check("bert", KERNELS)
    return " ".join(id_ for name, id_ in KERNELS if not choice.leaves_out(name, id_))


@pytest.mark.parametrize(
    ("only", "skip", "expected"),
    [
        ([], [], "wl-1 wl-2 wl-3 wl-4"),
        (["matmul_add"], [], "wl-1"),
        (["matmul*"], [], "wl-1 wl-2"),
        (["soft???", "wl-2"], [], "wl-2 wl-3 wl-4"),
        ([], ["softmax"], "wl-1 wl-2"),
        (["matmul*"], ["*gelu"], "wl-1"),
        ([], ["wl-4"], "wl-1 wl-2 wl-3"),
    ],
)
def test_kernels_are_chosen_by_name_pattern_or_id(only: list[str], skip: list[str], expected: str) -> None:
    assert tuned(only, skip) == expected


@pytest.mark.parametrize(("only", "skip"), [(["matmull"], []), (["softmax"], ["Softmax"]), ([], ["", "softmax"])])
def test_a_name_that_no_kernel_has_is_refused_with_those_there_are(only: list[str], skip: list[str]) -> None:
    with pytest.raises(InvalidInput, match="No kernel of bert is called") as caught:
        tuned(only, skip)
    assert caught.value.hint == "There are matmul_add, matmul_add_gelu, softmax."


def test_a_choice_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="left to tune"):
        tuned(["softmax"], ["soft*"])
