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

from tuner.artifact.texts import Texts
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
        self._texts = Texts(manifest, self._run) if manifest.get("texts") else None
        self._outputs = [tensor["name"] for tensor in manifest["outputs"]]
        self._params = [self._send(weights[name]) for name in manifest["params"]]
        library = load_library(remote, str(folder / manifest["library"]), f"{folder.name}-{manifest['library']}")
        self._machine = relax.VirtualMachine(library, self._device)

    def run(self, **inputs: np.ndarray) -> dict[str, Any]:
        """Outputs by name for one array per input; of texts as ``Texts.run`` says."""
        if self._texts is not None:
            return self._texts.run_here(inputs)
        return dict(zip(self._outputs, self._run(self._ordered(inputs)), strict=True))

    def time_ms(self, inputs: Mapping[str, np.ndarray], repeat: int) -> list[float]:
        """Milliseconds of ``repeat`` inferences, taken on the device itself, after two that are not counted; of texts,
        those of one."""
        texts, values = 1, []
        if self._texts is None:
            values = self._ordered(inputs)
        else:
            wanted = self._texts.packed(dict(inputs))
            texts, (values,) = len(wanted.lengths), self._texts.runs(wanted)
        self._set(values)
        evaluator = self._machine.time_evaluator("invoke_stateful", self._device, number=1, repeat=1 + repeat)
        return [float(seconds) * 1e3 / texts for seconds in evaluator("main").results[1:]]

    def _run(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Outputs in order for inputs in order."""
        self._set(values)
        self._machine.invoke_stateful("main")
        found = self._machine.get_outputs("main")
        return [value.numpy() for value in (list(found) if isinstance(found, tuple) else [found])]

    def _ordered(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return [inputs[name].astype(dtype) for name, dtype in self._inputs]

    def _set(self, values: list[np.ndarray]) -> None:
        self._machine.set_input("main", *map(self._send, values), *self._params)

    def _send(self, value: np.ndarray) -> Any:
        return tvm.runtime.tensor(np.ascontiguousarray(value), self._device)


@contextmanager
def session(device: DeviceAddress) -> Iterator[Any]:
    """A session long enough for whole modules. Raises what ``rpc.lease.lease`` raises."""
    with replace(device, session_timeout_sec=_SESSION_SEC).lease() as remote:
        yield remote
