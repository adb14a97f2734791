"""Contestants over texts, each in a process of its own, asked in turns of random order."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import llama
from rpc.facts import BIND_ENV, THREADS_ENV
from rpc.lifeline import child_env, python_module
from tuner.errors import StageFailed

Text = list[int]
MODES = {"alone": 1, "mixed8": 8, "sorted32": 32}  # texts of a batch; the last are sorted by length
_TURNS = 8  # parts of a pass over all texts: so many times each contestant is asked
_AGREE = 2e-3  # mean token vectors may differ by so much
_ALIKE = 0.999  # least cosine of those that compute GELU and attention in half precision, whatever they are given
_HALF = (llama.NAME,)


class Contestant:
    """A runtime in a process of its own."""

    def __init__(self, kind: str, path: str, folder: Path, threads: int) -> None:
        limits = dict.fromkeys((THREADS_ENV, "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        env = {name: value for name, value in child_env(**limits).items() if name != BIND_ENV}
        command = python_module("benchmarks.text_contestant", kind, path, str(folder), str(threads))
        self._kind, self._log = kind, folder / f"{kind}.log"
        with self._log.open("w") as log:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=log, text=True)
        self.load_sec = float(self._answer()["load_sec"])

    def first_call(self, text: Text) -> dict[str, float]:
        """What the first call of all takes, with this text alone: ``first_sec``, and ``median_sec`` of those after."""
        return dict(self._ask({"first": [text]}))

    def seconds(self, batches: Sequence[Sequence[Text]]) -> list[float]:
        """What each batch takes."""
        return list(self._ask({"batches": batches})["seconds"])

    def means(self, batches: Sequence[Sequence[Text]]) -> np.ndarray:
        """The mean of each text's token vectors, one text after the other."""
        return np.asarray(self._ask({"batches": batches, "look": True})["means"])

    def memory(self) -> dict[str, int]:
        """Bytes it holds ``now``, and held at its ``peak``."""
        return dict(self._ask({}))

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            self._process.communicate(timeout=10)
        self._process.kill()
        self._process.wait()

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended: there will be no answer
            print(json.dumps(question), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise StageFailed(f"{self._kind} ended without an answer.", f"See {self._log}.")
        return dict(json.loads(line))


def make_texts(count: int, vocabulary: int, seed: int) -> list[Text]:
    """Random ids of log-normal lengths: a median of 30 tokens, a mean of about 38, at most 256."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(np.round(np.exp(rng.normal(np.log(30), np.sqrt(2 * np.log(38 / 30)), count))), 3, 256)
    return [rng.integers(min(1000, vocabulary // 2), vocabulary, int(length)).tolist() for length in lengths]


def batches_of(texts: Sequence[Text], mode: str) -> list[list[Text]]:
    """The texts as this mode gives them."""
    given = sorted(texts, key=len) if mode.startswith("sorted") else list(texts)
    return [given[first : first + MODES[mode]] for first in range(0, len(given), MODES[mode])]


def check(contestants: Mapping[str, Contestant], texts: Sequence[Text]) -> dict[str, dict[str, float]]:
    """How far each is from PyTorch's: ``max_abs_errors``, and the least of the ``cosines`` of texts to it. Raises
    StageFailed where one is too far."""
    batches = batches_of(texts[:12], "mixed8")
    found = {name: one.means(batches) for name, one in contestants.items()}
    want = found["torch_sdpa"]
    apart = {name: float(np.abs(means - want).max()) for name, means in found.items()}
    alike = {name: _least_cosine(means, want) for name, means in found.items()}
    near = {name: alike[name] > _ALIKE if name in _HALF else apart[name] < _AGREE for name in found}
    if wrong := [name for name in found if not near[name]]:
        raise StageFailed(f"{', '.join(wrong)} computed something else than PyTorch: {apart}.")
    return {"max_abs_errors": apart, "cosines": alike}


def _least_cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / lengths).min())


def race(contestants: Mapping[str, Contestant], batches: Sequence[Sequence[Text]], passes: int) -> dict[str, Any]:
    """Seconds of each batch in each pass, by contestant; all work on a few batches before anybody goes on."""
    shuffle = random.Random(0).shuffle
    parts = [list(part) for part in np.array_split(np.arange(len(batches)), min(_TURNS, len(batches)))]
    seconds: dict[str, list[list[float]]] = {name: [] for name in contestants}
    for one in contestants.values():
        one.seconds(batches[:2])
    for _ in range(passes):
        for name in contestants:
            seconds[name].append([])
        for part in parts:
            order = list(contestants)
            shuffle(order)
            for name in order:
                seconds[name][-1] += contestants[name].seconds([batches[n] for n in part])
    return seconds
