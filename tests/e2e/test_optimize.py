"""``tunesmith.optimize`` by itself: a classifier in memory, no service, and a faster one that says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import tunesmith
from tests.support.service import ONE_THREAD, SMALL_ROUNDS
from tests.support.tiny_models import write_model

TEXTS = ["the old river was small", "a city", "morning light on the water and the stone bridge"]


@pytest.mark.timeout(1800)  # it starts a service of its own, and runs a job to its end
def test_a_classifier_in_memory_is_tuned_and_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"TUNER_DATA_DIR": str(tmp_path / "data"), **SMALL_ROUNDS, **ONE_THREAD}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    folder = write_model(tmp_path / "sentiment", "bert", "sequence-classification")
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    faster = tunesmith.optimize(model, texts=TEXTS, budget=8, tokenizer=tokenizer)

    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        torch.testing.assert_close(faster(**inputs).logits, model(**inputs).logits, rtol=2e-3, atol=2e-4)
    assert faster.config is model.config
    again = tunesmith.load(tmp_path / "sentiment.tunesmith.tar").as_torch(model.config)
    torch.testing.assert_close(again(**inputs).logits, faster(**inputs).logits)
    said = capfd.readouterr().err
    assert "wrote sentiment.tunesmith.tar" in said
    assert f"records stay in {tmp_path / 'data'}" in said.replace("\n", "")
