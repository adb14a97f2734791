"""An artifact that is given texts: by its tokenizer into tokens, in batches as it takes them, and back to each text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tuner.artifact.fitting import Shape, is_of_tokens, parts
from tuner.artifact.loader import Runner
from tuner.client.tokenizer import prompted

_BATCH = 32  # texts in a run of an artifact that takes any number


class Reader:
    """Texts through a loaded artifact."""

    def __init__(self, runner: Runner, tokenizer: Any) -> None:
        self._runner, self._tokenizer = runner, tokenizer
        self._model = runner.manifest["model"]
        self._head = str(self._model.get("head"))
        self._longest: int | None = (runner.manifest.get("texts") or {}).get("longest")

    @property
    def batch(self) -> int:
        """How many texts a run takes at best."""
        return _BATCH if self._longest else int(self._runner.inputs[0]["shape"][0])

    def outputs(self, texts: list[str]) -> Iterator[dict[str, np.ndarray]]:
        """Of each text its outputs by name: ``(features,)``, or ``(tokens, features)`` for what there is of each token.

        Texts that are too long are cut, as tokenizers do.
        """
        texts = [prompted(self._model, text) for text in texts]
        for first in range(0, len(texts), self.batch):
            yield from self._run(texts[first : first + self.batch])

    def _run(self, texts: list[str]) -> Iterator[dict[str, np.ndarray]]:
        if self._longest:
            ids = self._tokenizer(texts, truncation=True, max_length=self._longest)["input_ids"]
            found = self._runner.run(input_ids=ids)
            yield from ({name: value[row] for name, value in found.items()} for row in range(len(texts)))
            return
        batch, seq_len = self._runner.inputs[0]["shape"]
        encoded = self._tokenizer(texts, padding=True, truncation=True, max_length=seq_len, return_tensors="np")
        mask = np.asarray(encoded["attention_mask"])
        zeros = np.zeros_like(mask)
        inputs = {spec["name"]: np.asarray(encoded.get(spec["name"], zeros)) for spec in self._runner.inputs}
        shape = Shape(batch, seq_len, {"input_ids": int(self._tokenizer.pad_token_id or 0)})
        row = 0
        for part in parts(inputs, shape):
            found = self._runner.run(**part.inputs)
            for place in range(part.rows):
                seen = mask[row].astype(bool)
                yield {
                    name: value[place, : part.length][seen] if is_of_tokens(self._head, name) else value[place]
                    for name, value in found.items()
                }
                row += 1
