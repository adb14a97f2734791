"""Compiled modules on a device that is not this machine: loaded, run and timed over RPC."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from safetensors.numpy import load_file
from tvm import relax

from tuner.artifact import texts
from tuner.measuring.measure import DeviceAddress
from tuner.measuring.timing import load_library

# Parameters of a large model take a while through a tunnel; agents allow no longer session.
_SESSION_SEC = 600.0


class RemoteModule:
    """A compiled folder on a device; of use while ``remote``, its RPC session, lasts. Folders' names must differ."""

    def __init__(self, remote: Any, folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        kind = manifest["target"]["kind"]
        weights = load_file(folder / "params.safetensors") if manifest["params"] else {}
        self._device = remote.device("cpu" if kind == "llvm" else kind, 0)
        self._inputs = [(tensor["name"], tensor["dtype"]) for tensor in manifest["inputs"]]
        self._texts = manifest.get("texts") or {}
        self._shapes = [tensor["shape"] for tensor in manifest["outputs"]]
        self._outputs = [tensor["name"] for tensor in manifest["outputs"]]
        self._params = [self._send(weights[name]) for name in manifest["params"]]
        library = load_library(remote, str(folder / manifest["library"]), f"{folder.name}-{manifest['library']}")
        self._machine = relax.VirtualMachine(library, self._device)

    def run(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name for one array per input; of texts, padded as they are given."""
        if self._texts:
            names = [name for name, _ in self._inputs if name not in ("positions", "starts")]
            wanted = texts.request(inputs, names, self._texts["longest"])
            (run,) = wanted.runs(self._texts["most_tokens"], self._texts["first_position"])
            found = self._outputs_of(run)
            by_token = {name for name, shape in zip(self._outputs, self._shapes, strict=True) if shape[0] == "tokens"}
            return {n: np.asarray(wanted.by_token(v)) if n in by_token else v for n, v in found.items()}
        return self._outputs_of(inputs)

    def _outputs_of(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._set(inputs)
        self._machine.invoke_stateful("main")
        found = self._machine.get_outputs("main")
        values = list(found) if isinstance(found, tuple) else [found]
        return {name: value.numpy() for name, value in zip(self._outputs, values, strict=True)}

    def time_ms(self, inputs: Mapping[str, np.ndarray], repeat: int) -> list[float]:
        """Milliseconds of ``repeat`` inferences, taken on the device itself, after two that are not counted; of texts,
        those of one."""
        texts_given = 1
        if self._texts:
            names = [name for name, _ in self._inputs if name not in ("positions", "starts")]
            wanted = texts.request(dict(inputs), names, self._texts["longest"])
            (inputs,) = wanted.runs(self._texts["most_tokens"], self._texts["first_position"])
            texts_given = len(wanted.lengths)
        self._set(inputs)
        evaluator = self._machine.time_evaluator("invoke_stateful", self._device, number=1, repeat=1 + repeat)
        return [float(seconds) * 1e3 / texts_given for seconds in evaluator("main").results[1:]]

    def _set(self, inputs: Mapping[str, np.ndarray]) -> None:
        arrays = [self._send(inputs[name].astype(dtype)) for name, dtype in self._inputs]
        self._machine.set_input("main", *arrays, *self._params)

    def _send(self, value: np.ndarray) -> Any:
        return tvm.runtime.tensor(np.ascontiguousarray(value), self._device)


@contextmanager
def session(device: DeviceAddress) -> Iterator[Any]:
    """A session long enough for whole modules. Raises what ``rpc.lease.lease`` raises."""
    with replace(device, session_timeout_sec=_SESSION_SEC).lease() as remote:
        yield remote
