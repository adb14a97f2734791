"""Models of other frameworks, told by their names: what each is, and what makes one of it that is taken."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath

from tuner.errors import FormatUnsupported

_BACK = "Give the PyTorch model that it was made from, or its ONNX file."
_TF2ONNX = "Convert it: python -m tf2onnx.convert {} --output model.onnx"
_LIBRARY = "Convert it with transformers 4: AutoModel.from_pretrained(folder, {}=True).save_pretrained(folder)"
_SAVED_MODEL = "saved_model.pb"  # in the folder that is the model
# What there is, by name or ending, in the order in which a folder is looked through: what it is, and what to do.
_KINDS = {
    "tf_model.h5": ("TensorFlow weights", _LIBRARY.format("from_tf")),
    ".msgpack": ("weights of Flax", _LIBRARY.format("from_flax")),
    _SAVED_MODEL: ("a SavedModel of TensorFlow", _TF2ONNX.format("--saved-model {folder}")),
    ".pb": ("a graph of TensorFlow", _TF2ONNX.format("--graphdef {path} --inputs NAMES --outputs NAMES")),
    ".tflite": ("a model of TensorFlow Lite", _TF2ONNX.format("--tflite {path}")),
    ".h5": ("a model of Keras", _TF2ONNX.format("--keras {path}")),
    ".hdf5": ("a model of Keras", _TF2ONNX.format("--keras {path}")),
    ".keras": ("a model of Keras", "Convert it: keras.models.load_model('{path}').export('model.onnx', format='onnx')"),
    ".mlmodel": ("a model of Core ML", _BACK),
    ".mlpackage": ("a model of Core ML", _BACK),
    ".mlmodelc": ("a model of Core ML", _BACK),
    ".xml": ("a model of OpenVINO", _BACK),
    ".gguf": ("a file of llama.cpp's", _BACK),
    ".ort": ("a model of ONNX Runtime's own format", "Give the .onnx file that it was made from."),
    ".safetensors": ("weights alone", "Give the folder that holds config.json beside it."),
}


def refuse_foreign(path: Path) -> None:
    """Raise FormatUnsupported for a file, or a folder by its own name, of another framework."""
    for kind in (path.name, path.suffix):
        if kind in _KINDS:
            what, hint = _KINDS[kind]
            raise FormatUnsupported(f"{path} is {what}, no model that is taken.", _filled(hint, path))


def refuse_foreign_folder(folder: Path) -> None:
    """The same for a folder without weights that are taken, by its own name or by what lies in it."""
    refuse_foreign(folder)
    refuse_foreign_among(folder, (one.name for one in folder.iterdir()))


def refuse_foreign_among(folder: PurePath, names: Iterable[str]) -> None:
    """The same for what a folder, or the hub's model of that name, holds."""
    names = sorted(names)
    for kind, (what, hint) in _KINDS.items():
        for name in names:
            if kind != ".safetensors" and kind in (name, PurePath(name).suffix):
                raise FormatUnsupported(
                    f"{folder} holds {name}, {what}, and no weights that are taken.", _filled(hint, folder / name)
                )


def _filled(hint: str, path: PurePath) -> str:
    return hint.replace("{folder}", str(path.parent)).replace("{path}", str(path))
