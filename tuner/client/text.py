"""Text as an artifact's inputs, by the tokenizer of the model it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tuner.errors import InvalidInput, ModelUnreachable
from tuner.importers.hub import download

_HINT = "Give the token ids yourself with --inputs FILE.npz."


def encode(manifest: dict[str, Any], text: str) -> dict[str, np.ndarray]:
    """Arrays by input name, each ``(batch, seq_len)`` as compiled, every row of the batch is the text; for an artifact
    for texts, ``(1, length)``.

    Raises ``InvalidInput`` when the model has no tokenizer, ``ModelUnreachable`` when it lies on a hub out of reach.
    """
    from transformers import AutoTokenizer  # heavy, and of use to this function only

    location = manifest["model"]["location"]
    try:
        folder = Path(location) if Path(location).is_absolute() else download(location)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except ModelUnreachable as error:
        raise ModelUnreachable(error.message, _HINT) from error
    except (OSError, ValueError) as error:
        raise InvalidInput(f"The tokenizer of {location} can't be used: {error}.", _HINT) from error
    if about := manifest.get("texts"):
        encoded = tokenizer([text], truncation=True, max_length=about["longest"], return_tensors="np")
        return {"input_ids": encoded["input_ids"]}
    batch, seq_len = manifest["inputs"][0]["shape"]
    encoded = tokenizer([text] * batch, padding="max_length", truncation=True, max_length=seq_len, return_tensors="np")
    zeros = np.zeros((batch, seq_len))
    return {i["name"]: np.asarray(encoded.get(i["name"], zeros), dtype=i["dtype"]) for i in manifest["inputs"]}
