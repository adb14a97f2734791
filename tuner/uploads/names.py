"""Which files an upload may have, told by their names alone; pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from tuner.errors import UploadInvalid
from tuner.importers.folder import PICKLE_FILES
from tuner.schemas import UploadFileIn

PREFIX = "upload:"
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
WEIGHTS = (".safetensors", ".onnx", ".onnx_data", ".onnx.data", ".pt2")
TEXTS = (".json", ".txt", ".model", ".vocab", ".jinja")  # configuration, vocabularies, SentencePiece's models
MOST_TEXT_BYTES = 64 * 1024 * 1024  # the largest tokenizer.json of a hundred languages has a quarter of that
MOST_FILES = 500

CONVERT = (
    'python -c "import torch; from safetensors.torch import save_file; save_file({k: v.clone().contiguous() '
    "for k, v in torch.load('pytorch_model.bin', weights_only=True).items()}, 'model.safetensors', {'format': 'pt'})\""
)

_WORD = r"[A-Za-z0-9_](?:[A-Za-z0-9_.+=-]*[A-Za-z0-9_+=-])?"
_PATH = re.compile(rf"(?:{_WORD}/)?{_WORD}")
_PLAIN_SUBFOLDERS = re.compile(r"\d+_\w+/.*|onnx/.*", re.ASCII)  # sentence-transformers' parts, optimum's exports
_GRAPHS = (".onnx", ".onnx_data", ".onnx.data", ".pt2")
_SAID = "A name or folder/name of letters, digits and ._+=-; no name begins or ends with a dot."


def is_upload(model: str) -> bool:
    """Is a model's name one of an upload's?"""
    return model.startswith(PREFIX)


def is_archive(path: str) -> bool:
    """Is this an archive's name?"""
    return path.lower().endswith(ARCHIVES)


def digest_of(files: Iterable[UploadFileIn]) -> str:
    """What tells the content of one upload from another's: paths, sizes and SHA-256 of its files."""
    told = sorted((file.path, file.size_bytes, file.sha256) for file in files)
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def check_files(files: Sequence[UploadFileIn], allow_pickle: bool) -> None:
    """Raise UploadInvalid for a declaration that names what can't be taken, or one thing twice."""
    paths = [file.path for file in files]
    if len(files) == 1 and is_archive(paths[0]):
        check_path(paths[0])
        return
    for file in files:
        check_path(file.path)
        if is_archive(file.path):
            raise UploadInvalid(f"{file.path} is an archive beside other files.", "Send an archive by itself.")
        if not is_taken(file.path, allow_pickle):
            raise _refused(file.path)
        check_size(file.path, file.size_bytes)
    check_distinct(paths)


def check_path(path: str) -> None:
    """Raise UploadInvalid for a path that could lead anywhere but to a file of the upload's own folder."""
    if len(path) > 200 or not _PATH.fullmatch(path):
        raise UploadInvalid(f"{path[:200]!r} is no path that an upload may have.", _SAID)


def check_size(path: str, size_bytes: int) -> None:
    """Raise UploadInvalid for a text that is larger than any."""
    if path.endswith(TEXTS) and size_bytes > MOST_TEXT_BYTES:
        raise UploadInvalid(
            f"{path} has {size_bytes:,} bytes; a file of its kind may have {MOST_TEXT_BYTES:,}.",
            "Send the folder of a model as published.",
        )


def check_distinct(paths: Sequence[str]) -> None:
    """Raise UploadInvalid for two paths that could be one file on some disk, or a file that is also a folder."""
    folders = {path.partition("/")[0] for path in paths if "/" in path}
    seen: set[str] = set()
    for name in (*paths, *sorted(folders)):
        if name.lower() in seen:
            raise UploadInvalid(f"{name} is there twice, or as a folder too.", "Give each file a path of its own.")
        seen.add(name.lower())


def is_taken(path: str, allow_pickle: bool) -> bool:
    """Is it of a kind that models have? Pickles are, only where that is allowed."""
    if path.endswith((*WEIGHTS, *TEXTS)):
        return not path.endswith(".bin.index.json") or allow_pickle
    return allow_pickle and is_pickle(path)


def is_pickle(path: str) -> bool:
    """Are these PyTorch's pickled weights?"""
    return any(fnmatchcase(path, pattern) for pattern in PICKLE_FILES)


def chosen(paths: Iterable[str], allow_pickle: bool) -> tuple[list[str], list[str]]:
    """Of the files of a model's folder those that are needed, and those that are left out: other runtimes' copies of
    the weights, readmes, what no upload may have. Raises UploadInvalid when nothing is left but pickled weights."""
    paths = sorted(paths)
    taken = [path for path in paths if _PATH.fullmatch(path) and len(path) <= 200 and is_taken(path, allow_pickle)]
    taken = [path for path in taken if "/" not in path or _PLAIN_SUBFOLDERS.fullmatch(path)]
    if any(path.endswith(".safetensors") for path in taken):
        taken = [path for path in taken if not (path.endswith(_GRAPHS) or path.startswith("onnx/") or is_pickle(path))]
    pickled = [path for path in paths if is_pickle(path)]
    if pickled and not any(path.endswith(WEIGHTS) or is_pickle(path) for path in taken):
        raise _refused(pickled[0])
    return taken, [path for path in paths if path not in set(taken)]


def _refused(path: str) -> UploadInvalid:
    if is_pickle(path):
        return UploadInvalid(
            f"{path} is pickled, and loading a pickle can run any code.",
            f"Convert it, beside it: `{CONVERT}`; or let the service take pickles: TUNER_ALLOW_PICKLE_UPLOADS.",
        )
    kinds = ", ".join((*WEIGHTS, *TEXTS))
    return UploadInvalid(f"{path} is of a kind that no upload has.", f"Send {kinds}, or one archive of a folder.")
