"""The worker's side of a contestant, without a process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuner.bench.outputs import named_outputs
from tuner.bench.task import Task
from tuner.bench.turns import Arrays, Opened, Turns


def ragged(batch: Arrays) -> Callable[[], Any]:
    """As an artifact for texts: a list of rows for each text, as many as it has tokens."""
    texts = [ids[: mask.sum()] for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    return lambda: {"last_hidden_state": [text[:, None] * np.ones(2) for text in texts], "logits": np.ones((2, 3))}


BATCH = {"input_ids": np.array([[5, 6, 0], [7, 8, 9]]), "attention_mask": np.array([[1, 1, 0], [1, 1, 1]])}


def test_rows_of_texts_are_padded_on_the_way_and_trimmed_there(tmp_path: Path) -> None:
    task = Task(tmp_path / "task.npz", [BATCH], ("input_ids",), ("last_hidden_state", "logits"), lengths=[2, 3])
    turns = Turns(lambda order: Opened(ragged, ()))
    told = turns.answer({"ask": "enter", "order": {"inputs": str(task.file)}})
    assert min(told["load_ms"], told["first_ms"]) > 0
    turns.answer({"ask": "compute", "inputs": str(task.file), "outputs": str(tmp_path / "made.npz")})
    with np.load(tmp_path / "made.npz") as made:
        elsewhere = task.trimmed({"last_hidden_state": made["0/last_hidden_state"], "logits": made["0/logits"]})
    here = task.trimmed(named_outputs(ragged(BATCH)(), task.outputs))
    for found in (elsewhere, here):
        assert found["last_hidden_state"][:, 0].tolist() == [5, 6, 7, 8, 9]
        assert found["logits"].shape == (2, 3)


def test_turns_take_as_many_runs_as_are_asked_for(tmp_path: Path) -> None:
    runs: list[int] = []
    task = Task(tmp_path / "task.npz", [BATCH, BATCH], ("input_ids",), ())
    turns = Turns(lambda order: Opened(lambda batch: lambda: runs.append(1), ()))
    turns.answer({"ask": "enter", "order": {"inputs": str(task.file)}})
    runs.clear()
    assert len(turns.answer({"ask": "times_ms", "runs": 3})) == 3
    assert len(runs) == 6
    turns.answer({"ask": "first_ms"})
    assert len(runs) == 7
    assert turns.answer({"ask": "memory_bytes"}) > 2**20
