"""Single files that hold a model: which kinds there are, which are taken, and what the others are to become. No torch.

Told from names and the first bytes only; a file is read where models are imported.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.errors import FormatUnsupported
from tuner.importers.families import FAMILIES
from tuner.importers.folder import TOKENIZER_FILES, read_config
from tuner.importers.plain_file import open_plain, refuse_special

ONNX, PROGRAM = ".onnx", ".pt2"
ORIGINAL = "original"  # folder below a snapshot with the file as it came, and the files of its weights

_PROGRAM_LINE = "torch.export.save(torch.export.export(model.eval(), example_inputs), 'model.pt2')"
_PICKLE_HINT = f"Load it where you trust it and save it anew: {_PROGRAM_LINE}"
_MOST_MEMBERS = 100_000
# By ending: what it is, and what to do.
_OTHERS: Mapping[str, tuple[str, str]] = {
    ".safetensors": ("weights alone", "Give the folder that holds config.json beside it."),
    ".gguf": ("a file of llama.cpp's", "Give the folder that it was made from."),
    ".h5": ("a model of Keras", "Give the folder of a PyTorch model, or its ONNX file."),
    ".keras": ("a model of Keras", "Give the folder of a PyTorch model, or its ONNX file."),
    ".tflite": ("a model of TensorFlow Lite", "Give the folder of a PyTorch model, or its ONNX file."),
    ".pb": ("a graph of TensorFlow", "Give the folder of a PyTorch model, or its ONNX file."),
    ".mlmodel": ("a model of Core ML", "Give the folder that it was converted from."),
    ".xml": ("a model of OpenVINO", "Give the folder that it was converted from."),
    ".ort": ("a model of ONNX Runtime's own format", "Give the .onnx file that it was made from."),
}


def check_format(path: Path) -> None:
    """Raise FormatUnsupported, or ModelInvalid, for a file that is none of the formats that are taken."""
    refuse_special(path)
    if path.suffix == ONNX:
        return
    if path.suffix in _OTHERS:
        what, hint = _OTHERS[path.suffix]
        raise FormatUnsupported(f"{path} is {what}, no model that is taken.", hint)
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


def is_converted(snapshot: Path | None) -> bool:
    """Is a file's model there as the library reads one, beside the file? An encoder is."""
    return snapshot is not None and (snapshot / "config.json").is_file()


def original_in(folder: Path, suffix: str) -> Path | None:
    """The file that a snapshot was made of, if it ends so."""
    return next(iter(sorted((folder / ORIGINAL).glob(f"*{suffix}"))), None)


def onnx_in(folder: Path) -> Path | None:
    """The ONNX file of a folder without other weights, as optimum and the hub have it; None when there is not one."""
    for place in (folder, folder / "onnx"):
        if (place / "model.onnx").is_file():
            return place / "model.onnx"
    found = list(folder.glob(f"*{ONNX}"))
    return found[0] if len(found) == 1 else None


def config_beside(file: Path) -> dict[str, Any] | None:
    """The configuration that lies beside a model's file, or above its folder ``onnx``, if it is of a known family."""
    for folder in _around(file):
        if (folder / "config.json").is_file():
            config = read_config(folder)
            return config if str(config.get("model_type")) in FAMILIES else None
    return None


def tokenizer_beside(file: Path) -> list[Path]:
    """The tokenizer's files beside a model's."""
    for folder in _around(file):
        if found := [one for pattern in TOKENIZER_FILES for one in sorted(folder.glob(pattern)) if one.is_file()]:
            return found
    return []


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
