"""Text as an artifact's inputs, by the tokenizer that lies in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tuner.client.tokenizer import prompted, tokenizer_for
from tuner.errors import InvalidInput, ModelUnreachable
from tuner.importers.hub import download

_HINT = "Give the token ids yourself with --inputs FILE.npz."


def encode(artifact: Path, manifest: Mapping[str, Any], text: str) -> dict[str, np.ndarray]:
    """Arrays by input name, each ``(batch, seq_len)`` as compiled, every row of the batch is the text; for an artifact
    for texts, ``(1, length)``.

    Raises ``InvalidInput`` when the artifact has no tokenizer; of one that was made before they travelled, when its
    model has none, and ``ModelUnreachable`` when that lies on a hub out of reach.
    """
    try:
        tokenizer = tokenizer_for(artifact, manifest, _of_hub(manifest))
    except ModelUnreachable as error:
        raise ModelUnreachable(error.message, _HINT) from error
    except InvalidInput as error:
        raise InvalidInput(error.message, _HINT) from error
    text = prompted(manifest["model"], text)
    if about := manifest.get("texts"):
        encoded = tokenizer([text], truncation=True, max_length=about["longest"], return_tensors="np")
        return {"input_ids": encoded["input_ids"]}
    batch, seq_len = manifest["inputs"][0]["shape"]
    encoded = tokenizer([text] * batch, padding="max_length", truncation=True, max_length=seq_len, return_tensors="np")
    zeros = np.zeros((batch, seq_len))
    return {i["name"]: np.asarray(encoded.get(i["name"], zeros), dtype=i["dtype"]) for i in manifest["inputs"]}


def _of_hub(manifest: Mapping[str, Any]) -> Path | None:
    """The files of a hub model, for an artifact that was made before tokenizers travelled."""
    location = manifest["model"]["location"]
    return None if "tokenizer" in manifest or Path(location).is_absolute() else download(location)
