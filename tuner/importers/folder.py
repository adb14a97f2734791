"""Checks on a local model folder that cost milliseconds: its configuration and the headers of its weight files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from tuner import strict_json
from tuner.errors import ModelInvalid
from tuner.importers.plain_file import read_bounded, refuse_special

_Kind = TypeVar("_Kind", dict[str, Any], list[Any])
_KINDS: dict[type, str] = {dict: "object", list: "list"}

MAX_JSON_BYTES = 1024 * 1024  # config.json has a few hundred bytes, the index of a sharded model some hundred thousand

SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")

# What is loaded of a model, as patterns of names; pickles only where that is allowed.
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.*", "merges.txt", "spiece.model", "spm.model", "sentencepiece.bpe.model"),
)
# Of a sentence-transformers model: its list of modules, and the folder of each.
SENTENCE_FILES = (
    *("modules.json", "sentence_*_config.json", "config_sentence_transformers.json"),
    *("[0-9]*_*/config.json", "[0-9]*_*/model.safetensors"),
)
SAFE_FILES = ("config.json", "model*.safetensors", SAFETENSORS_INDEX, *TOKENIZER_FILES, *SENTENCE_FILES)
PICKLE_FILES = ("pytorch_model*.bin", PICKLES[1], "[0-9]*_*/pytorch_model.bin")


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json`` of a model folder; raises ``ModelInvalid`` when there is none or it is no JSON object."""
    if not folder.is_dir():
        raise ModelInvalid(f"{folder} is not a folder.", "Give the folder that holds config.json and the weights.")
    return _read_json(folder / "config.json", f"{folder} is no model: it has no config.json.", dict)


def check_weights(folder: Path, allow_pickle: bool) -> None:
    """Check that the folder holds readable weights, without reading the weights themselves.

    Safetensors are preferred, whole or sharded; pickles only count when ``allow_pickle`` says so, because loading
    one may run code. Raises ``ModelInvalid`` naming the file that is missing or damaged.
    """
    if (folder / SAFETENSORS).exists():
        _check_safetensors(folder / SAFETENSORS)
    elif _is_sharded(folder):
        for shard in _shards(folder / SAFETENSORS_INDEX):
            _check_safetensors(folder / shard)
    elif not has_pickle(folder):
        raise ModelInvalid(f"{folder} has no weights.", f"Put {SAFETENSORS} beside config.json.")
    elif not allow_pickle:
        raise pickle_refused(str(folder))


def model_files(folder: Path, allow_pickle: bool) -> list[Path]:
    """The files of a checked folder that loading it may read, by name below it. Raises ModelInvalid for one that can't
    be read or is no regular file."""
    shards = _shards(folder / SAFETENSORS_INDEX) if _is_sharded(folder) else []
    patterns = [*SAFE_FILES, *shards, *(PICKLE_FILES if allow_pickle else ())]
    found = {str(file.relative_to(folder)): file for pattern in patterns for file in folder.glob(pattern)}
    for file in found.values():
        try:
            refuse_special(file)
        except OSError as error:
            raise ModelInvalid(f"{file} can't be read: {error.strerror}.", "Download the model again.") from None
    return [found[name] for name in sorted(found)]


def pickle_refused(model: str) -> ModelInvalid:
    """The error for a folder or hub model that has only pickled weights."""
    return ModelInvalid(
        f"{model} has only pickled weights ({PICKLES[0]}), and loading a pickle can run any code.",
        "Convert it to safetensors or, if you trust it, add --allow-pickle.",
    )


def has_safetensors(folder: Path) -> bool:
    """Whether the folder has safetensors, whole or sharded."""
    return (folder / SAFETENSORS).is_file() or (folder / SAFETENSORS_INDEX).is_file()


def has_pickle(folder: Path) -> bool:
    """Whether the folder has a pickled checkpoint."""
    return any((folder / name).is_file() for name in PICKLES)


def _is_sharded(folder: Path) -> bool:
    return not (folder / SAFETENSORS).exists() and (folder / SAFETENSORS_INDEX).exists()


def _shards(index: Path) -> list[str]:
    weight_map = _read_json(index, f"{index} is missing.", dict).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelInvalid(f"{index} has no weight_map.", "Download the model again.")
    shards = sorted({str(shard) for shard in weight_map.values()})
    if strange := [shard for shard in shards if Path(shard).name != shard]:
        raise ModelInvalid(f"{index} names {strange[0]!r}, which is no file beside it.", "Download the model again.")
    return shards


def _check_safetensors(file: Path) -> None:
    from safetensors import SafetensorError, safe_open  # an agent's installation has none, and asks for names only

    try:
        refuse_special(file)
        with safe_open(file, framework="numpy") as tensors:
            empty = not list(tensors.keys())
    except FileNotFoundError:
        raise ModelInvalid(f"{file} is missing.", "Download the model again.") from None
    except (SafetensorError, OSError) as error:
        raise ModelInvalid(f"{file} is damaged: {error}.", "Download the model again.") from error
    if empty:
        raise ModelInvalid(f"{file} holds no tensors.", "Download the model again.")


def read_object(file: Path, kind: type[_Kind]) -> _Kind:
    """The JSON object (``dict``) or list of a file. Raises ModelInvalid naming the file."""
    return _read_json(file, f"{file} is missing.", kind)


def _read_json(file: Path, missing: str, kind: type[_Kind]) -> _Kind:
    try:
        content = strict_json.parse(read_bounded(file, MAX_JSON_BYTES))
    except FileNotFoundError:
        raise ModelInvalid(missing, "Give the folder that holds config.json and the weights.") from None
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"{file} can't be read: {error}.", "Download the model again.") from error
    if not isinstance(content, kind):
        raise ModelInvalid(f"{file} is no JSON {_KINDS[kind]}.", "Download the model again.")
    return content
