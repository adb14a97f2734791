from __future__ import annotations

import pytest

from tuner.errors import InvalidInput, SequenceTooLong
from tuner.importers.source import ModelSource
from tuner.jobs.shape import JobShape, job_shape, settled_shape
from tuner.lengths import default_mix
from tuner.schemas import JobIn
from tuner.targets.presets import Target, resolve

CPU, GPU = resolve("m1-cpu", "local", None), resolve("m1-metal", "local", None)


def model(
    family: str = "bert", head: str = "encoder", longest: int | None = 512, source: str = "folder"
) -> ModelSource:
    return ModelSource("mine", source, "/mine", family, head, longest, "pretrained")  # type: ignore[arg-type]


def shape(source: ModelSource, target: Target = CPU, **wish: object) -> JobShape:
    return job_shape(JobIn.model_validate({"model": "mine", **wish}), source, target)


@pytest.mark.parametrize("longest", [512, 64])
def test_who_asks_for_nothing_gets_texts_of_any_lengths_up_to_the_models(longest: int) -> None:
    found = shape(model(longest=longest))
    assert found == JobShape(texts=default_mix(longest))
    assert str(found) == "texts of any lengths"
    assert max(found.lengths or []) <= longest
    assert found.texts == shape(model(longest=longest), lengths="mix").texts


@pytest.mark.parametrize(
    ("wish", "expected"),
    [({"batch": 8}, (8, 128)), ({"seq_len": 32}, (1, 32)), ({"batch": 2, "seq_len": 16}, (2, 16))],
)
def test_either_number_asks_for_one_shape(wish: dict[str, int], expected: tuple[int, int]) -> None:
    found = shape(model(), **wish)
    assert (found.batch, found.seq_len, found.lengths, found.note) == (*expected, None, "")


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (model(), GPU, "m1-metal is none"),
        (model("deberta-v2"), CPU, "deberta-v2"),
        (model(head="masked-lm"), CPU, "masked-lm"),
    ],
)
def test_what_can_not_take_texts_gets_one_shape_and_says_why(source: ModelSource, target: Target, reason: str) -> None:
    found = shape(source, target)
    assert (found.batch, found.seq_len, found.lengths) == (1, 128, None)
    assert reason in found.note
    assert "1 x 128" in found.note
    with pytest.raises(InvalidInput, match=reason):
        shape(source, target, lengths="mix")


def test_the_shape_nobody_asked_for_fits_a_short_model() -> None:
    assert shape(model(longest=64), GPU).seq_len == shape(model(longest=64), batch=8).seq_len == 64
    with pytest.raises(SequenceTooLong, match="64"):
        shape(model(longest=64), seq_len=65)


def test_a_model_nobody_knows_yet_may_still_become_one_shape() -> None:
    assert shape(model("", "", None, "hub")).is_open
    assert not shape(model("", "", None, "hub"), lengths="mix").is_open
    assert not shape(model("", "", None, "hub"), seq_len=16).is_open


def test_an_operator_has_its_own_extents() -> None:
    operator = model("gemm", "", None, "operator")
    for wish in ({}, {"seq_len": 64}):
        assert (shape(operator, **wish).batch, shape(operator, **wish).seq_len) == (1, 1)
    with pytest.raises(InvalidInput, match="no texts"):
        shape(operator, lengths="mix")


@pytest.mark.parametrize("wish", [{"lengths": "mix", "seq_len": 128}, {"text_lengths": [4], "batch": 1}])
def test_one_shape_and_texts_exclude_each_other(wish: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="not both"):
        shape(model(), **wish)


@pytest.mark.parametrize("source", ["file", "hub"])
def test_a_file_that_is_no_encoder_has_its_own_shapes(source: str) -> None:
    settled = settled_shape(model("", "", None, source), "local", "llvm")
    assert (settled.texts, settled.is_open) == (None, False)
    assert "no encoder that is known" in settled.note
    assert settled_shape(model("bert", "encoder", 512, "file"), "local", "llvm").texts
