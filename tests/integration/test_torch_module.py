"""A tuned module in PyTorch's and the library's own hands: the same answers, from the same calls."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from functools import cache as cache_results
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, logging, pipeline

import tunesmith
from examples import pipeline as example
from tests.support import tiny_artifact
from tests.support.tiny_made import tiny_import
from tuner.importers.cache import Shape
from tuner.importers.huggingface import load_torch
from tunesmith import ArtifactError
from tunesmith.handing_over import hand_over

BATCH, SEQ = 2, 32
TEXTS = ["the old river was small", "a city", "morning light on the water and the stone bridge", "bread"]
TASKS = {
    "sequence-classification": "text-classification",
    "token-classification": "token-classification",
    "masked-lm": "fill-mask",
    "encoder": "feature-extraction",
}


class Made:
    """A tiny model as files, as the library's network and as an artifact."""

    def __init__(self, head: str, texts: bool) -> None:
        made = tiny_import(Shape(texts=True) if texts else Shape(BATCH, SEQ), head=head)
        self.files, self.head, self.folder = made.model, head, made.artifact()
        self.network = load_torch(made.fetched).network
        self.tokenizer = AutoTokenizer.from_pretrained(self.files)
        self.artifact = tunesmith.load(self.folder)
        self.module = self.artifact.as_torch(self.network.config)

    def tokens(self, texts: list[str]) -> dict[str, torch.Tensor]:
        return dict(self.tokenizer(texts, padding=True, return_tensors="pt"))

    def pipelines(self) -> tuple[Any, Any]:
        """The library's own pipeline, and the same with the tuned module."""
        task = TASKS[self.head]
        return tuple(pipeline(task, model=one, tokenizer=self.tokenizer) for one in (self.network, self.module))


@pytest.fixture(scope="module")
def made() -> Callable[..., Made]:
    make = cache_results(Made)
    return lambda head, texts=False: make(head, texts)


def of_tokens(output: Any, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """What counts of an output: of padding nothing does."""
    return {name: v[mask.bool()] if v.shape[:2] == mask.shape else v for name, v in output.items()}


@pytest.mark.parametrize(
    ("head", "texts"),
    [
        ("sequence-classification", True),
        ("encoder", True),
        ("token-classification", False),
        ("question-answering", False),
        ("masked-lm", False),
    ],
    ids=lambda value: value if isinstance(value, str) else ("texts" if value else "fixed"),
)
@pytest.mark.parametrize("count", [1, 3])
def test_the_outputs_are_the_librarys(made: Callable[..., Made], head: str, texts: bool, count: int) -> None:
    model = made(head, texts)
    tokens = model.tokens(TEXTS[:count])
    with torch.inference_mode():
        wanted = model.network(**tokens)
    got = model.module(**tokens)
    wanted = of_tokens({name: wanted[name] for name in got}, tokens["attention_mask"])
    for name, value in of_tokens(got, tokens["attention_mask"]).items():
        torch.testing.assert_close(value, wanted[name], rtol=2e-3, atol=2e-4)


def test_outputs_lie_where_the_kernels_wrote_them(made: Callable[..., Made], monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = made("token-classification"), []
    run = model.module.runner.run_in_place
    monkeypatch.setattr(model.module.runner, "run_in_place", lambda **inputs: given.append(run(**inputs)) or given[-1])
    output = model.module(**model.tokens(TEXTS[:1]))
    (values,) = given
    assert output.logits.data_ptr() == torch.from_dlpack(values["logits"]).data_ptr()


def test_inputs_in_order_and_tuples_are_taken_and_given(made: Callable[..., Made]) -> None:
    model = made("token-classification")
    tokens = model.tokens(TEXTS[:2])
    by_name = model.module(**tokens).logits
    (in_order,) = model.module(
        tokens["input_ids"], tokens["attention_mask"], tokens["token_type_ids"], return_dict=False
    )
    torch.testing.assert_close(in_order, by_name)


@pytest.mark.parametrize("head", ["sequence-classification", "token-classification", "encoder"])
def test_pipelines_give_the_same_for_lists_batches_and_generators(
    made: Callable[..., Made], head: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = made(head, head != "token-classification")
    logging.enable_propagation()
    plain, tuned = model.pipelines()
    assert "not supported" not in caplog.text
    for batch_size in (1, 3) if head != "encoder" else (1,):  # the library's own numbers at padding mean nothing
        same(tuned(TEXTS, batch_size=batch_size), plain(TEXTS, batch_size=batch_size))
    same(list(tuned(text for text in TEXTS)), plain(TEXTS))


def same(got: Any, wanted: Any) -> None:
    """Equal words, numbers to four digits."""
    if isinstance(wanted, dict):
        assert got.keys() == wanted.keys()
        for key in wanted:
            same(got[key], wanted[key])
    elif isinstance(wanted, list):
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            same(one, other)
    elif isinstance(wanted, (float, np.floating)):
        assert got == pytest.approx(wanted, abs=5e-4, rel=5e-3)
    else:
        assert got == wanted


def test_a_mask_is_filled_the_same(made: Callable[..., Made]) -> None:
    plain, tuned = made("masked-lm").pipelines()
    same(tuned("the [MASK] was small"), plain("the [MASK] was small"))


def test_a_sentence_transformer_runs_on_it_and_stays_as_it_was(made: Callable[..., Made], tmp_path: Path) -> None:
    sentences = pytest.importorskip("sentence_transformers")
    model = made("encoder", True)
    embedder = sentences.SentenceTransformer(str(model.files), device="cpu")
    wanted = embedder.encode(TEXTS)
    faster = hand_over(embedder, tmp_path).back(model.module)
    assert faster[0].model is model.module
    np.testing.assert_allclose(faster.encode(TEXTS), wanted, rtol=2e-3, atol=2e-4)
    np.testing.assert_array_equal(embedder.encode(TEXTS), wanted)


def test_the_example_prints_the_same_labels_and_scores(
    made: Callable[..., Made], capsys: pytest.CaptureFixture[str]
) -> None:
    model = made("sequence-classification", True)
    example.main([str(model.files), str(model.folder), "--runs", "3"])
    plain, tuned = capsys.readouterr().out.split("TuneSmith:\n")
    answers = re.findall(r"label: (\w+), with score: ([\d.]+)", plain)
    assert len(answers) == len(example.SENTENCES)
    for (label, score), (wanted, as_wanted) in zip(
        re.findall(r"label: (\w+), with score: ([\d.]+)", tuned), answers, strict=True
    ):
        assert label == wanted
        assert float(score) == pytest.approx(float(as_wanted), abs=1.1e-4)  # the last digit may fall either way
    assert re.search(r"PyTorch [\d.]+ ms, TuneSmith [\d.]+ ms: [\d.]+x", tuned)


def test_a_module_of_no_head_gives_its_tensor(tmp_path: Path) -> None:
    module = tunesmith.load(tiny_artifact.build(tmp_path / "artifact")).as_torch()
    x = torch.arange(8, dtype=torch.float32).reshape(2, 4)
    torch.testing.assert_close(
        module(x), x @ torch.from_numpy(tiny_artifact.WEIGHT) + torch.from_numpy(tiny_artifact.BIAS)
    )
    with pytest.raises(ArtifactError, match="compiled for"):
        module(x[:1])


def test_without_a_config_it_tells_what_the_manifest_knows(made: Callable[..., Made]) -> None:
    config = made("sequence-classification", True).artifact.as_torch().config
    assert config.model_type == "bert"
    assert config.num_labels == 3


def test_the_config_of_another_family_is_refused(made: Callable[..., Made]) -> None:
    with pytest.raises(ArtifactError, match="family bert, the config given is of roberta"):
        made("encoder", True).artifact.as_torch({"model_type": "roberta"})


def test_it_stays_on_the_cpu_in_float32_and_evaluates(made: Callable[..., Made]) -> None:
    module = made("token-classification").module
    assert (module.device, module.dtype, module.training) == (torch.device("cpu"), torch.float32, False)
    assert module.to("cpu").eval().float() is module


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda module: module.to("cuda"), "can't be moved there|can't go to cuda"),
        (lambda module: module.to("meta"), "can't go to meta"),
        (lambda module: module.half(), "can't go to cpu as torch.float16"),
        (lambda module: module.train(), "can't be trained"),
        (lambda module: module.state_dict(), "can't give its weights"),
        (lambda module: module.save("x"), "Keep or copy the artifact"),
        (lambda module: module.save_pretrained("x"), "Keep or copy the artifact"),
        (copy.deepcopy, "can't be saved again"),
        (lambda module: module(torch.ones(1, SEQ + 1, dtype=torch.long)), f"have {SEQ + 1} tokens.*compiled for {SEQ}"),
        (lambda module: module(torch.ones(1, 2, dtype=torch.long), labels=torch.ones(1)), "has no labels"),
        (lambda module: module(torch.ones(1, 2, dtype=torch.long), pixels=torch.ones(1)), "got pixels too"),
        (lambda module: module(torch.ones(1, 2, dtype=torch.long), torch.ones(2, 2)), "of one shape"),
    ],
)
def test_what_it_can_not_do_is_refused_in_words(made: Callable[..., Made], ask: Any, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        ask(made("token-classification").module)
