"""Loads a TuneSmith artifact and runs it; needs TVM and numpy, nothing else.

With the modules beside it that it imports it lies in every artifact, as one file ``loader.py``:

    from loader import load
    model = load("artifact.tar")
    outputs = model.run(input_ids=ids, attention_mask=mask)

or ``python loader.py artifact.tar --runs 50`` to time it. One for texts needs its ``texts.py`` beside this file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tuner.artifact.machine import CALLERS_CPU, are_bound, device, load_blas, misfit, settle_threads
from tuner.artifact.members import ArtifactError, Place, locate, view
from tuner.artifact.weights import Weights, read_weights

__all__ = ["ArtifactError", "Runner", "load", "main"]

_WEIGHTS = "params.safetensors"
_ALIGNMENT = 64  # bytes
_SMALL = 4096  # bytes of a parameter below which it is copied: numpy does not lend every scalar, or what is empty


class Runner:
    """A loaded artifact. ``inputs`` and ``outputs`` are ``[{"name", "shape", "dtype"}, ...]`` in call order."""

    def __init__(self, manifest: dict[str, Any], library: np.ndarray, weights: Weights | None) -> None:
        import tvm
        from tvm import relax

        if reason := misfit(manifest):
            raise ArtifactError(reason)
        self.manifest = manifest
        self.inputs: list[dict[str, Any]] = manifest["inputs"]
        self.outputs: list[dict[str, Any]] = manifest["outputs"]
        self._tvm = tvm
        self._device = device(manifest)
        load_blas(manifest)
        arrays = weights.arrays() if weights else {}
        self._params = [self._constant(arrays[name]) for name in manifest.get("params", [])]
        with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
            file = Path(folder, "library").with_suffix(Path(manifest["library"]).suffix)
            library.tofile(file)
            module = tvm.runtime.load_module(str(file))  # mapped: the file may go once it is loaded
            memory = "naive" if manifest.get("texts") else None  # nothing is kept: a pool keeps the most it ever was
            self._main = relax.VirtualMachine(module, self._device, memory_cfg=memory)["main"]
        self._own_core = are_bound()
        self._texts = _texts_module().Texts(manifest, self._run_once) if manifest.get("texts") else None

    def run(self, **inputs: Any) -> dict[str, Any]:
        """Outputs by name for one array per input, of exactly the manifest's shapes; dtypes are converted. Of an
        artifact for texts: as ``Texts.run`` in ``texts.py`` says. Raises ArtifactError when they are not such."""
        if self._texts is not None:
            try:
                return dict(self._texts.run(self._as_meant(inputs)))
            except ValueError as error:
                raise ArtifactError(str(error)) from None
        return dict(zip((spec["name"] for spec in self.outputs), self._run_once(self._ordered(inputs)), strict=True))

    def run_in_place(self, **inputs: Any) -> dict[str, Any]:
        """``run`` without copies: inputs are read where they lie, if they are as the manifest wants them and lie where
        TVM takes them, and on a CPU outputs are TVM's tensors, for any library that takes DLPack."""
        if self._texts is not None or self._device != self._tvm.cpu():
            return self.run(**inputs)
        results = self._results([self._in_place(value) for value in self._ordered(inputs)])
        return dict(zip((spec["name"] for spec in self.outputs), results, strict=True))

    def _run_once(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Outputs in order for inputs in order."""
        return [value.numpy() for value in self._results([self._tvm.runtime.tensor(v, self._device) for v in inputs])]

    def _results(self, inputs: list[Any]) -> list[Any]:
        """TVM's tensors for TVM's tensors, in order."""
        result = self._call([*inputs, *self._params])
        return [result] if hasattr(result, "numpy") else list(result)

    def _in_place(self, value: np.ndarray) -> Any:
        """A CPU's array as TVM takes it, which wants it aligned."""
        as_it_is = value.ctypes.data % _ALIGNMENT == 0 and value.flags.writeable
        return self._tvm.runtime.from_dlpack(value) if as_it_is else self._tvm.runtime.tensor(value, self._device)

    def bound(self, **inputs: Any) -> Callable[[], Any]:
        """A call that runs on these inputs as often as it is made; at fixed shapes it copies nothing in or out."""
        if self._texts is not None:
            return lambda: self.run(**inputs)
        arguments = [self._tvm.runtime.tensor(value, self._device) for value in self._ordered(inputs)]
        return lambda: self._call([*arguments, *self._params])

    def benchmark(self, runs: int = 50, **inputs: Any) -> tuple[float, float, float]:
        """Milliseconds of one inference over ``runs`` runs after a warm-up: (median, 10th, 90th percentile)."""
        call = self.bound(**(inputs or self.example()))
        times_ms = []
        for index in range(runs + 3):
            start = time.perf_counter()
            call()
            if index >= 3:
                times_ms.append((time.perf_counter() - start) * 1e3)
        median, p10, p90 = np.percentile(times_ms, [50, 10, 90])
        return float(median), float(p10), float(p90)

    def example(self) -> dict[str, Any]:
        """Inputs of the right shapes, see ``example_inputs``."""
        return example_inputs(self.manifest)

    def _call(self, arguments: list[Any]) -> Any:
        """Run on this thread; where TVM's workers are bound to cores, it stays for that time on the one they left."""
        if not self._own_core:
            return self._main(*arguments)
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {CALLERS_CPU})
        try:
            return self._main(*arguments)
        finally:
            os.sched_setaffinity(0, allowed)

    def _constant(self, value: np.ndarray) -> Any:
        """A parameter as TVM takes it: where it was read to, if that is a place for it."""
        if self._device == self._tvm.cpu() and value.nbytes >= _SMALL:
            return self._in_place(value)
        return self._tvm.runtime.tensor(value, self._device)

    def _as_meant(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """A caller's texts, looked at: lists of ids stay lists."""
        for spec in self.inputs:
            given = inputs.get(spec["name"], [])
            for text in [given] if isinstance(given, np.ndarray) else given:
                _meant(spec, text)
        return inputs

    def _ordered(self, inputs: dict[str, Any]) -> list[np.ndarray]:
        """Inputs in the manifest's order, as it wants them."""
        names = [spec["name"] for spec in self.inputs]
        if set(inputs) != set(names):
            raise ArtifactError(f"The inputs are {', '.join(names)}; got {', '.join(sorted(inputs)) or 'none'}.")
        ordered = []
        for spec in self.inputs:
            given = _meant(spec, inputs[spec["name"]])
            if not np.can_cast(given.dtype, spec["dtype"], "same_kind"):
                raise ArtifactError(f"{spec['name']} is {spec['dtype']}; got {given.dtype}.")
            value = np.ascontiguousarray(given, dtype=spec["dtype"])
            if value.shape != (wanted := tuple(spec["shape"])):
                raise ArtifactError(f"{spec['name']} has shape {value.shape}, this artifact is compiled for {wanted}.")
            if spec.get("padding") == "right":
                _check_right(spec["name"], value)
            ordered.append(value)
        return ordered


def _check_right(name: str, mask: np.ndarray) -> None:
    """Of families that compute padding as their library does on the right only."""
    if (mask[:, 1:] > mask[:, :-1]).any():
        raise ArtifactError(f"{name} has padding before a token; this artifact takes it on the right.")
    if not mask.any(axis=1).all():
        row = int(np.argmin(mask.any(axis=1)))
        raise ArtifactError(f"{name} has no token in row {row}; this artifact needs one in each row.")


def example_inputs(manifest: dict[str, Any]) -> dict[str, Any]:
    """Inputs of an artifact's shapes: ones for the attention mask, zeros for everything else; one text of 32 tokens."""
    if manifest.get("texts"):
        return {"input_ids": np.zeros((1, min(32, manifest["texts"]["longest"])), np.int32)}
    return {i["name"]: np.full(i["shape"], i["name"] == "attention_mask", i["dtype"]) for i in manifest["inputs"]}


def load(path: str | Path) -> Runner:
    """Opens an artifact: the tar, or a folder with its members.

    Raises:
        ArtifactError: when it is no artifact, a member does not match its checksum, or it is for another machine.
    """
    places = locate(Path(path))
    if "manifest.json" not in places:
        raise ArtifactError(f"{path} is no artifact: it has no manifest.json.")
    manifest = _manifest(path, view(places["manifest.json"]).tobytes())
    checksums = manifest.get("files", {})
    is_being_made = Path(path).is_dir() and "files" not in manifest
    for name in _used(manifest):
        if not (name in checksums or is_being_made) or Path(name).name != name:
            raise ArtifactError(f"{path} is no artifact of TuneSmith: its manifest vouches for no file {name!r}.")
    weights = read_weights(places[_WEIGHTS]) if _WEIGHTS in _used(manifest) and _WEIGHTS in places else None
    for name, wanted in checksums.items():
        if name not in places or _sha256(places[name], weights if name == _WEIGHTS else None) != wanted:
            raise ArtifactError(f"{path} is damaged: {name} does not match its checksum. Download it again.")
    settle_threads(manifest)
    try:
        return Runner(manifest, view(places[manifest["library"]]), weights)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is no artifact of TuneSmith: {type(error).__name__} {error}.") from error


def _sha256(place: Place, weights: Weights | None) -> str:
    """Of a member; of weights that were read, as they were."""
    return weights.sha256 if weights else hashlib.sha256(view(place).data).hexdigest()


def _manifest(path: str | Path, content: bytes) -> dict[str, Any]:
    """What the manifest says, as far as that is looked at before the artifact runs."""
    try:
        manifest = json.loads(content)
        checksums, threads = manifest.get("files", {}), manifest.get("threads")
        is_one = all(isinstance(text, str) for text in checksums.values()) and isinstance(threads, (int, type(None)))
    except (AttributeError, ValueError, RecursionError):
        is_one = False
    if not is_one:
        raise ArtifactError(f"{path} is no artifact of TuneSmith: its manifest can't be read.")
    return manifest


def _meant(spec: dict[str, Any], given: Any) -> np.ndarray:
    """Values as they were given, if they are such as the model has a meaning for: whole numbers below ``below``."""
    value, below = np.asarray(given), spec.get("below")
    if below is None or not value.size:
        return value
    if value.dtype.kind not in "iub":
        raise ArtifactError(f"{spec['name']} are whole numbers from 0 to {below - 1}; got {value.dtype}.")
    if value.min() < 0 or value.max() >= below:
        wrong = value[(value < 0) | (value >= below)][0]
        raise ArtifactError(f"{spec['name']} holds {wrong}; this model knows 0 to {below - 1}.")
    return value


def _texts_module() -> Any:
    """``texts.py`` of this file's folder: the package's, or an unpacked artifact's."""
    file = Path(__file__).with_name("texts.py")
    if not file.is_file():
        raise ArtifactError(f"This artifact needs its texts.py beside {Path(__file__).name}: unpack it too.")
    source = SourceFileLoader("tunesmith_texts", str(file))
    module = sys.modules[source.name] = ModuleType(source.name)  # dataclasses look it up there
    source.exec_module(module)
    return module


def _used(manifest: dict[str, Any]) -> list[str]:
    """The members that running the artifact reads."""
    return [str(manifest.get("library")), *([_WEIGHTS] if manifest.get("params") else [])]


def main() -> None:
    """Times an artifact from the command line, and says what came out."""
    parser = argparse.ArgumentParser(description="Run a TuneSmith artifact.")
    folder = str(Path(__file__).parent)
    parser.add_argument("artifact", nargs="?", default=folder, help="the tar or its unpacked folder")
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    try:
        runner = load(options.artifact)
        outputs = runner.run(**runner.example())
    except ArtifactError as error:
        sys.exit(f"error: {error}")
    median, p10, p90 = runner.benchmark(options.runs)
    for name, value in outputs.items():
        print(f"{name}: {value.dtype}{list(value.shape)} mean {value.mean():.6f}")
    timed = f"{options.runs} runs, {os.environ['TVM_NUM_THREADS']} threads"
    print(f"median {median:.2f} ms, p10 {p10:.2f}, p90 {p90:.2f} over {timed}")


if __name__ == "__main__":
    main()
