"""Operators written by the user: a Python function that returns tensors of TVM's ``te``, run on the user's machine."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from rpc.lean import importing, without_torch
from rpc.lifeline import child_env, python_module
from tuner.errors import InvalidInput
from tuner.schemas import OperatorIn

_TIMEOUT_SEC = 120.0


def from_file(path: Path, function: str, args: Sequence[int], constants: Sequence[int]) -> OperatorIn:
    """The operator that ``function`` of a Python file builds from ``args``: inputs, then the result.

    It is run in a child process, as whoever calls this: never give it a file you don't trust. Raises InvalidInput.
    """
    if not path.is_file():
        raise InvalidInput(f"There is no file {path}.", "Give FILE.py:FUNCTION.")
    command = python_module("tuner.importers.operators.written", str(path), function, *map(str, args))
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SEC, env=child_env(), check=False
        )
    except subprocess.TimeoutExpired:
        raise InvalidInput(f"{path}:{function} did not return within {_TIMEOUT_SEC:g} s.") from None
    if ran.returncode != 0:
        last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
        raise InvalidInput(f"{path}:{function} failed: {last}", "It must return [inputs..., result] of tvm.te.")
    tir = ran.stdout.splitlines()[-1]
    try:
        return OperatorIn(name=function, tir=json.loads(tir), constants=list(constants))
    except ValidationError as error:
        raise InvalidInput(f"{path}:{function} can't be sent: {error.errors()[0]['msg']}.") from None


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("operator_file", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """``python -m tuner.importers.operators.written FILE FUNCTION [N]...``: print the function's TIR as a JSON line."""
    with importing(), without_torch():  # before the file, which imports it as well
        import tvm
        from tvm import te
    path, function, *args = sys.argv[1:]
    build = getattr(_load(Path(path)), function, None)
    if build is None:
        raise SystemExit(f"{path} has no function {function}")
    print(json.dumps(str(tvm.ir.save_json(te.create_prim_func(list(build(*map(int, args))))))))


if __name__ == "__main__":
    main()
