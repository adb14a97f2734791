"""A model's tokenizer: loaded from its folder, and written out whole, so that it can lie wherever the model goes."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer
from transformers import PreTrainedTokenizerBase as Tokenizer

from tuner.importers.folder import TOKENIZER_FILES

FAST, CONFIG = "tokenizer.json", "tokenizer_config.json"
_VOCABULARIES = (FAST, "vocab.*", "spiece.model", "spm.model", "sentencepiece.bpe.model")


def load_tokenizer(folder: Path) -> tuple[Tokenizer | None, str]:
    """The folder's tokenizer; or None, and why there is none that can be used.

    Without its vocabulary the library makes up one that takes every word for an unknown one: that is none. Code of the
    folder's own is not run, and nobody is asked whether it may be.
    """
    if not _found(folder, _VOCABULARIES):
        return None, "The model has no tokenizer."
    try:
        found = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # its libraries raise what they like, some of it nothing more than Exception
        named = ", ".join(file.name for file in _found(folder, _VOCABULARIES))
        return None, f"The model's tokenizer ({named}) can't be used: {_first_line(error)}."
    tokenizer = cast(Tokenizer, found)
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        return None, "The model's tokenizer knows no words."
    return tokenizer, ""


def write_tokenizer(tokenizer: Tokenizer, folder: Path, place: Path) -> list[str]:
    """Write all that a tokenizer is loaded from into ``place``; the names of the files.

    They are the model's own, from ``folder``, and beside them what it lacks: ``tokenizer.json``, where the library can
    make one, and the name of the tokenizer's class.
    """
    place.mkdir(exist_ok=True)
    for file in _found(folder, TOKENIZER_FILES):
        shutil.copyfile(file, place / file.name)
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if not (place / FAST).is_file() and backend is not None:
        plain = Backend.from_str(backend.to_str())
        plain.no_padding()  # what it was last used with
        plain.no_truncation()
        plain.save(str(place / FAST))
    if not _names_class(place / CONFIG):
        with tempfile.TemporaryDirectory(prefix="tunesmith-") as scratch:
            tokenizer.save_pretrained(scratch)
            shutil.copyfile(Path(scratch, CONFIG), place / CONFIG)
    return sorted(file.name for file in place.iterdir())


def _found(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})


def _names_class(file: Path) -> bool:
    """Without it the library asks the model's configuration, which does not travel."""
    try:
        return bool(json.loads(file.read_text()).get("tokenizer_class"))
    except (OSError, ValueError, AttributeError):
        return False


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
