"""A ``.pt2`` file, looked at before PyTorch loads it: loading one may unpickle, load compiled code, or evaluate text.

What can do that is refused by name; what is left are tensors and the graph, plain bytes and JSON. No torch.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuner.errors import FormatUnsupported, ModelInvalid, OperatorsUnsupported
from tuner.importers.plain_file import open_plain

_MAX_JSON_BYTES = 256 * 2**20  # a graph of thousands of operators has some megabytes
_HINT = "Save it with this release of PyTorch: torch.export.save(program, 'model.pt2')."
_CONFIGS = (  # the list of each kind of tensors, and how their files are called
    ("data/weights/", "_weights_config.json", "weight_"),
    ("data/constants/", "_constants_config.json", "tensor_"),
)
# Extents that are expressions are evaluated as Python: whole numbers, symbols and arithmetic of theirs only.
_WORD = re.compile(r"[A-Za-z_]\w*")
_ARITHMETIC = re.compile(r"(?:(?!\*\*)[\w\s+*/(),<>=!'-])*", re.ASCII)
_FUNCTIONS = {
    *("FloorDiv", "CleanDiv", "CeilDiv", "Mod", "PythonMod", "Max", "Min"),
    *("Eq", "Ne", "Ge", "Gt", "Le", "Lt", "True", "False", "oo", "int_oo"),
    *("Add", "Mul", "Integer", "Symbol", "positive", "nonnegative", "integer"),
}
# Of an extent, that is; one number to the power of another could take for ever.
_POWER = re.compile(r"Pow\(Symbol\('[su]\d+'[^()']*\), Integer\(\d\)\)")
_SYMBOL = re.compile(r"[su]\d+")
# What a graph may call: what it names is looked up in PyTorch, which has functions that load and run files.
_OPERATOR = re.compile(r"torch\.ops\.(?:\w+\.\w+\.\w+|higher_order\.\w+)|torch\.sym_\w+", re.ASCII)
_OF_PYTHON = {
    *("getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow"),
    *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_"),
}


def check_program(path: Path) -> None:
    """Raise FormatUnsupported for a file of a program that holds more than a graph and tensors, ModelInvalid for a
    damaged one."""
    try:
        with open_plain(path) as file, zipfile.ZipFile(file) as archive:
            _check(path, archive)
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, NotImplementedError) as error:
        raise ModelInvalid(f"{path} is damaged: {error}.", "Save it again.") from None


def _check(path: Path, archive: zipfile.ZipFile) -> None:
    members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise FormatUnsupported(f"{path} is packed again by another program.", _HINT)
    models = [name for name in members if name.startswith("models/")]
    if models != ["models/model.json"]:
        raise FormatUnsupported(f"{path} holds no program of torch.export of today, or several.", _HINT)
    for name in members:
        if name.startswith("data/aotinductor/"):
            raise FormatUnsupported(f"{path} holds compiled code ({name}).", _HINT)
        if name.startswith(("data/weights/", "data/constants/")) and name.endswith(".pt"):
            raise FormatUnsupported(f"{path} holds a pickle ({name}), and loading one can run any code.", _HINT)
    for folder, ending, prefix in _CONFIGS:
        for name, info in members.items():
            if name.startswith(folder) and name.endswith(ending):
                _check_payloads(path, _json(archive, info), prefix)
    for one in _objects(_json(archive, members["models/model.json"])):
        text, target = one.get("expr_str"), one.get("target")
        if isinstance(text, str) and not _is_arithmetic(text):
            raise FormatUnsupported(f"{path} has an extent that is no arithmetic: {text[:60]!r}.", _HINT)
        if "inputs" in one and isinstance(target, str) and not _is_operator(target):
            raise OperatorsUnsupported(f"{path} calls {target[:60]!r}, which is no operator of PyTorch.", _HINT)


def _is_arithmetic(text: str) -> bool:
    text = _POWER.sub("s0", text)
    words = _WORD.findall(text)
    return bool(_ARITHMETIC.fullmatch(text)) and all(w in _FUNCTIONS or _SYMBOL.fullmatch(w) for w in words)


def _is_operator(target: str) -> bool:
    module, _, name = target.rpartition(".")
    return bool(_OPERATOR.fullmatch(target)) or (module == "_operator" and name in _OF_PYTHON)


def _check_payloads(path: Path, config: Any, prefix: str) -> None:
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise ValueError("its list of tensors can't be read")
    for name, entry in entries.items():
        if entry.get("use_pickle") is not False or not str(entry.get("path_name")).startswith(prefix):
            raise FormatUnsupported(f"{path} holds {name} as a pickle, and loading one can run any code.", _HINT)


def _json(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    if info.file_size > _MAX_JSON_BYTES:
        raise ValueError(f"{info.filename} has {info.file_size:,} bytes")
    try:
        return json.loads(archive.read(info))
    except RecursionError:
        raise ValueError(f"{info.filename} is nested too deep") from None


def _objects(content: Any) -> Iterator[dict[str, Any]]:
    todo = [content]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            yield one
            todo += one.values()
        elif isinstance(one, list):
            todo += one
