"""From tokens to an embedding: the numbers of sentence-transformers' own modules, wherever the padding is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.sentence_models import write_json, write_sentence_model
from tuner.errors import ModelInvalid
from tuner.importers.pooled import Tail, load_tail
from tuner.importers.sentence import MODES, Pooling, read_sentence

WIDTH, LENGTH = 32, 9
IDENTITY = "torch.nn.modules.linear.Identity"


@pytest.fixture(autouse=True)
def _warnings_of_the_library() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of tokens, and rows that are full, short, padded on the left, a single token and none."""
    hidden = torch.randn(5, LENGTH, WIDTH, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 9, [1] * 4 + [0] * 5, [0] * 6 + [1] * 3, [1] + [0] * 8, [0] * 9], dtype=torch.int32)
    return hidden, mask


def theirs(folder: Path, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What the library makes of tokens, by the modules that a folder names."""
    from sentence_transformers.sentence_transformer import modules

    features: dict[str, Any] = {"token_embeddings": hidden, "attention_mask": mask}
    for name in ("Pooling", "Dense", "LayerNorm", "Normalize"):
        for place in sorted(folder.glob(f"*_{name}")):
            features = getattr(modules, name).load(str(folder), subfolder=place.name)(features)
    return features["sentence_embedding"]


@pytest.mark.parametrize("mode", MODES)
def test_each_way_to_pool_is_the_librarys(mode: str) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling as Theirs

    hidden, mask = tokens()
    rows = 4 if mode == "max" else 5  # the largest of nothing is minus infinity there
    got = Tail([Pooling((mode,))])(hidden, mask)[:rows]
    features = Theirs(WIDTH, pooling_mode=mode)({"token_embeddings": hidden, "attention_mask": mask})
    torch.testing.assert_close(got, features["sentence_embedding"][:rows])


@pytest.mark.parametrize(
    "described",
    [
        {"modes": ("mean", "cls"), "dense": {}, "norm": True},
        {"dense": {"use_residual": True, "bias": False}, "new": True},
        {
            "dense": {
                "out_features": WIDTH,
                "use_residual": True,
                "activation_function": "torch.nn.modules.linear.Identity",
            }
        },
    ],
)
def test_what_comes_behind_is_the_librarys(tmp_path: Path, described: dict[str, Any]) -> None:
    folder = write_sentence_model(tmp_path, "bert", **{"normalize": False} | described)
    hidden, mask = tokens()
    tail = load_tail(folder, read_sentence(folder).steps, WIDTH, False)
    with torch.inference_mode():
        torch.testing.assert_close(tail(hidden, mask), theirs(folder, hidden, mask))


def test_vectors_get_unit_length(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path, "bert")
    hidden, mask = tokens()
    got = load_tail(folder, read_sentence(folder).steps, WIDTH, False)(hidden, mask)
    torch.testing.assert_close(got.norm(dim=1), torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]))


@pytest.mark.parametrize("mode", MODES)
def test_texts_in_a_row_are_what_they_are_alone(mode: str) -> None:
    tail, (hidden, mask) = Tail([Pooling((mode,))]), tokens()
    lengths = [9, 4, 1]
    rows = torch.cat([hidden[0], hidden[1, :4], hidden[3, :1]])
    starts = torch.tensor([0, 9, 13], dtype=torch.int32)
    torch.testing.assert_close(tail.of_rows(rows, starts), tail(hidden[[0, 1, 3]], mask[[0, 1, 3]]))
    assert sum(lengths) == len(rows)


def test_weights_that_are_not_what_the_configuration_means_are_named(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path, "bert", dense={})
    steps = read_sentence(folder).steps
    with pytest.raises(ModelInvalid, match=r"means vectors of 32 numbers, those before it have 48"):
        load_tail(folder, steps, 48, False)
    write_json(folder / "2_Dense" / "config.json", {"in_features": WIDTH, "out_features": 5})
    with pytest.raises(ModelInvalid, match=r"linear\.weight \[12, 32\]; its config\.json means .*\[5, 32\]"):
        load_tail(folder, read_sentence(folder).steps, WIDTH, False)
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(ModelInvalid, match=r"has no model\.safetensors"):
        load_tail(folder, steps, WIDTH, False)
    (folder / "2_Dense" / "pytorch_model.bin").touch()
    with pytest.raises(ModelInvalid, match="pickle"):
        load_tail(folder, steps, WIDTH, False)
