"""Single files that hold a model: which kinds there are, which are taken, and what the others are to become. No torch.

Told from names and the first bytes only; a file is read where models are imported.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from tuner.errors import FormatUnsupported
from tuner.importers.families import FAMILIES
from tuner.importers.folder import SENTENCE_FILES, TOKENIZER_FILES, has_pickle, has_safetensors, read_config
from tuner.importers.foreign import refuse_foreign
from tuner.importers.plain_file import open_plain, refuse_special

ONNX, PROGRAM = ".onnx", ".pt2"
ORIGINAL = "original"  # folder below a snapshot with the file as it came, and the files of its weights

_PROGRAM_LINE = "torch.export.save(torch.export.export(model.eval(), example_inputs), 'model.pt2')"
_PICKLE_HINT = f"Load it where you trust it and save it anew: {_PROGRAM_LINE}"
_MOST_MEMBERS = 100_000


def check_format(path: Path) -> None:
    """Raise FormatUnsupported, or ModelInvalid, for a file that is none of the formats that are taken."""
    refuse_special(path)
    if path.suffix == ONNX:
        return
    refuse_foreign(path)
    members = _members(path)
    if members is None:
        if _is_pickle(path):
            raise _pickled(path)
        raise FormatUnsupported(
            f"{path} is no model that is taken.", "Give a folder with config.json, an .onnx file or a .pt2 file."
        )
    names = {name.partition("/")[2] for name in members}
    is_program = any(name.endswith("serialized_exported_program.json") for name in members) or any(
        name.startswith("models/") and name.endswith(".json") for name in names
    )
    if is_program:
        if path.suffix != PROGRAM:
            raise FormatUnsupported(f"{path} is a torch.export program by another name.", f"Name it {path.stem}.pt2.")
        return
    if any(name.startswith("code/") for name in names) or "constants.pkl" in names:
        raise FormatUnsupported(
            f"{path} is a TorchScript file, which is not taken.",
            "Convert the module it was made from: "
            "torch.export.save(torch.export.export(module.eval(), example_inputs), 'model.pt2')",
        )
    if "data.pkl" in names:
        raise _pickled(path)
    raise FormatUnsupported(f"{path} is an archive that holds no model.", "Give a folder, an .onnx or a .pt2 file.")


def is_of_file(snapshot: Path | None) -> bool:
    """Was a snapshot made of a file?"""
    return snapshot is not None and (snapshot / ORIGINAL).is_dir()


def is_program(snapshot: Path | None) -> bool:
    """Was it made of the file of no encoder? An encoder is there as the library reads one, beside the file."""
    return is_of_file(snapshot) and not (cast(Path, snapshot) / "config.json").is_file()


def original_in(folder: Path, suffix: str) -> Path | None:
    """The file that a snapshot was made of, if it ends so."""
    return next(iter(sorted((folder / ORIGINAL).glob(f"*{suffix}"))), None)


def graph_in(folder: Path) -> Path | None:
    """The ``.onnx`` or ``.pt2`` file of a folder without other weights; None when there is not one."""
    if has_safetensors(folder) or has_pickle(folder):
        return None
    patterns = (f"*{ONNX}", f"onnx/*{ONNX}", f"*{PROGRAM}")
    found = graph_among(str(file.relative_to(folder)) for pattern in patterns for file in folder.glob(pattern))
    return folder / found if found else None


def graph_among(names: Iterable[str]) -> str | None:
    """Which name is the model's among those of a folder, as optimum and the hub have them; None: none, or several."""
    names = list(names)
    for usual in ("model.onnx", "onnx/model.onnx"):
        if usual in names:
            return usual
    found = [name for name in names if name.endswith((ONNX, PROGRAM)) and "/" not in name]
    return found[0] if len(found) == 1 else None


def config_beside(file: Path) -> dict[str, Any] | None:
    """The configuration that lies beside a model's file, or above its folder ``onnx``, if it is of a known family."""
    for folder in _around(file):
        if (folder / "config.json").is_file():
            config = read_config(folder)
            return config if str(config.get("model_type")) in FAMILIES else None
    return None


def files_beside(file: Path) -> dict[str, Path]:
    """The configuration beside a model's file, the tokenizer's files and what sentence-transformers puts there, by
    name; each of these kinds from the nearest folder."""
    kinds = (("config.json",), TOKENIZER_FILES, SENTENCE_FILES)
    return {name: place for kind in kinds for name, place in _first_found(file, kind).items()}


def _first_found(file: Path, patterns: Iterable[str]) -> dict[str, Path]:
    for folder in _around(file):
        places = [one for pattern in patterns for one in sorted(folder.glob(pattern)) if one.is_file()]
        if places:
            return {str(one.relative_to(folder)): one for one in places}
    return {}


def _around(file: Path) -> list[Path]:
    return [file.parent, file.parent.parent] if file.parent.name == "onnx" else [file.parent]


def _members(path: Path) -> list[str] | None:
    """Names in a zip archive; None: it is none."""
    with open_plain(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return archive.namelist()[:_MOST_MEMBERS]
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
            return None


def _is_pickle(path: Path) -> bool:
    """Does it begin as pickles do, of the protocols that PyTorch ever wrote?"""
    with open_plain(path) as file:
        first = file.read(2)
    return len(first) == 2 and first[0] == 0x80 and 2 <= first[1] <= 5


def _pickled(path: Path) -> FormatUnsupported:
    return FormatUnsupported(
        f"{path} is a pickle, and loading one can run any code.",
        f"{_PICKLE_HINT}; weights alone are taken in the folder of their model.",
    )
