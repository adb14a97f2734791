"""llama.cpp as a contestant over texts: token vectors of ids, all sequences of a batch in one decode."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NAME = "llama_cpp"  # among the peers
_PACKAGES = ("llama_cpp", "gguf")
HOW_TO_INSTALL = "pip install 'tunesmith[llama]', which compiles it for some minutes"
_MOST_TOKENS, _MOST_TEXTS = 2048, 32  # of a decode: llama.cpp's own n_batch, and a batch of the benchmark


def is_here() -> bool:
    """Is it installed, with what writes its files?"""
    return all(importlib.util.find_spec(name) for name in _PACKAGES)


class Encoder:
    """A GGUF loaded by llama.cpp on ``threads`` threads; called with a batch of ids it gives token vectors by text.

    As its documentation has it for embeddings, an encoder's batch is computed at once, so ``n_ubatch`` is ``n_batch``.
    """

    def __init__(self, file: Path, threads: int) -> None:
        import llama_cpp as api

        self._api = api
        api.llama_backend_init()
        model = api.llama_model_default_params()
        self._model = api.llama_model_load_from_file(str(file).encode(), model)
        if not self._model:
            raise RuntimeError(f"llama.cpp does not load {file}")
        context = api.llama_context_default_params()
        context.embeddings, context.pooling_type = True, api.LLAMA_POOLING_TYPE_NONE
        context.n_ctx = context.n_batch = context.n_ubatch = _MOST_TOKENS
        context.n_seq_max, context.kv_unified = _MOST_TEXTS, True
        context.n_threads = context.n_threads_batch = threads
        self._context = api.llama_init_from_model(self._model, context)
        self._batch = given = api.llama_batch_init(_MOST_TOKENS, 0, 1)
        shape = (_MOST_TOKENS,)
        self._tokens, self._positions = (np.ctypeslib.as_array(each, shape) for each in (given.token, given.pos))
        np.ctypeslib.as_array(given.n_seq_id, shape)[:] = 1
        np.ctypeslib.as_array(given.logits, shape)[:] = 1  # every token's vector is wanted
        self._width = api.llama_model_n_embd(self._model)

    def __call__(self, batch: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Arrays ``(tokens, hidden)``."""
        found: list[np.ndarray] = []
        for part in in_decodes(batch):
            rows, first = self._decoded(part), 0
            for text in part:
                found.append(rows[first : first + len(text)])
                first += len(text)
        return found

    def _decoded(self, texts: Sequence[Sequence[int]]) -> np.ndarray:
        given, place = self._batch, 0
        for number, text in enumerate(texts):
            rows = slice(place, place + len(text))
            self._tokens[rows], self._positions[rows] = text, np.arange(len(text))
            for row in range(place, rows.stop):
                given.seq_id[row][0] = number
            place = rows.stop
        given.n_tokens = place
        if code := self._api.llama_encode(self._context, given):
            raise RuntimeError(f"llama.cpp failed at {place} tokens: {code}")
        found = self._api.llama_get_embeddings(self._context)
        return np.ctypeslib.as_array(found, (place, self._width)).copy()


def in_decodes(batch: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """A batch in parts that fit into one decode each, most often one."""
    found: list[list[Sequence[int]]] = []
    tokens = _MOST_TOKENS + 1
    for text in batch:
        tokens += len(text)
        if tokens > _MOST_TOKENS or len(found[-1]) == _MOST_TEXTS:
            found.append([])
            tokens = len(text)
        found[-1].append(text)
    return found
