"""The lengths of a user's texts, counted without a tokenizer: it lies where the model is."""

from __future__ import annotations

import re
from pathlib import Path

from tuner.errors import InvalidInput

_PIECES = re.compile(r"\w{1,6}|[^\w\s]")  # a word piece has about so many letters; punctuation marks are their own
_MARKS = 2  # that tokenizers put around a text


def token_counts(file: Path) -> list[int]:
    """About how many tokens each line has; empty lines are none. Raises InvalidInput when the file is no text."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{file} can't be read as text: {error}.", "Give a UTF-8 file with a text in each line."
        ) from error
    return [len(_PIECES.findall(line)) + _MARKS for line in lines if line.strip()]
