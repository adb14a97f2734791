"""The tensors of a ``.pt2`` file by their names, read as the bytes they are. No torch."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.lib.stride_tricks import as_strided

from tuner.errors import ModelInvalid
from tuner.importers.plain_file import open_plain

_CONFIG = "data/weights/model_weights_config.json"
# PyTorch's numbers of its dtypes, of those that weights have.
_DTYPES: dict[int, Any] = {6: np.float16, 7: np.float32, 8: np.float64, 13: ml_dtypes.bfloat16}


def program_weights(file: Path) -> dict[str, np.ndarray]:
    """Parameters in float32 by name; what is no float is left out. Raises ModelInvalid for a damaged file.

    The file was looked at by ``archive.check_program``.
    """
    found = {}
    try:
        with open_plain(file) as opened, zipfile.ZipFile(opened) as archive:
            places = {name.partition("/")[2]: name for name in archive.namelist()}
            for name, entry in json.loads(archive.read(places[_CONFIG]))["config"].items():
                meta = entry["tensor_meta"]
                if meta["dtype"] in _DTYPES:
                    content = archive.read(places[f"data/weights/{entry['path_name']}"])
                    found[name] = _array(content, meta)
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ModelInvalid(f"{file} is damaged: {error}.", "Save it again.") from None
    return found


def _array(content: bytes, meta: dict[str, Any]) -> np.ndarray:
    shape, strides = ([int(extent["as_int"]) for extent in meta[key]] for key in ("sizes", "strides"))
    values = np.frombuffer(content, _DTYPES[meta["dtype"]])[int(meta["storage_offset"]["as_int"]) :]
    last = sum((extent - 1) * stride for extent, stride in zip(shape, strides, strict=True))
    if min([*shape, *strides, 1]) < 0 or (0 not in shape and last >= values.size):
        raise ValueError("a tensor of it reaches beyond its bytes")
    return as_strided(values, shape, [stride * values.itemsize for stride in strides]).astype(np.float32, order="C")
