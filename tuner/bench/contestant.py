"""A contestant in a process of its own: what it costs before its first answer is its own then, and so is its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import rpc.confined
from rpc.confined import Confined, Failed
from tuner.bench.entrant import Entrant
from tuner.bench.runtimes import EXTRA, PACKAGES, how_to_install
from tuner.bench.spec import Spec, Variant
from tuner.bench.task import Task, save
from tuner.bench.turns import batches_in
from tuner.errors import StageFailed

_WORKER, _CONVERTER = "tuner.bench.contestant_worker", "tuner.bench.graphs_worker"
_ELSEWHERE = "tuner.bench.tensorflow_worker"
_ENTER_SEC, _TURN_SEC = 240.0, 120.0  # until its first answer; a turn, besides what it is meant to take
_CONVERTED = (
    *("onnxruntime", "onnxruntime-optimised", "onnxruntime-int8"),
    *("openvino", "openvino-default", "openvino-int8", "keras"),
)
_OF_TENSORFLOW = ("keras", "graphdef")
_LEAVE_IT = "Leave it out."
_HOW_TO_KERAS = (
    "Give it an environment of its own, `python -m venv DIR && DIR/bin/pip install tensorflow-cpu keras`, and start "
    "the service with TUNER_KERAS_PYTHON=DIR/bin/python."
)


class Contestant(Entrant):
    """One in a process that ``ends`` with the block it was entered in. All it does raises StageFailed with its reason.

    ``load_ms``, ``first_ms`` and ``precision`` are as of ``tuner.bench.spec.Timing``.
    """

    def __init__(self, name: str, process: Confined, order: Mapping[str, Any], hint: str = _LEAVE_IT) -> None:
        self.name = name
        self._hint = hint
        self._process = process
        told = self._ask(_ENTER_SEC, "enter", order=dict(order))
        self.load_ms: float = told["load_ms"]
        self.first_ms: float = told["first_ms"]
        self.precision: str = told["precision"]

    def run_for(self, seconds: float, least: bool = False) -> float:
        return float(self._ask(seconds + _TURN_SEC, "run_for", seconds=seconds, least=least))

    def times_ms(self, runs: int) -> list[float]:
        return list(self._ask(_TURN_SEC * max(1, runs), "times_ms", runs=runs))

    def first_again_ms(self) -> float:
        """What its first call takes now."""
        return float(self._ask(_TURN_SEC, "first_ms"))

    def memory_bytes(self) -> int:
        """The most memory that its process held."""
        return int(self._ask(_TURN_SEC, "memory_bytes"))

    def computed(self, batches: Sequence[Mapping[str, np.ndarray]], scratch: Path) -> list[dict[str, np.ndarray]]:
        """Its outputs by name for each batch."""
        given, made = scratch / "asked.npz", scratch / "computed.npz"
        save(given, batches)
        self._ask(_TURN_SEC, "compute", inputs=str(given), outputs=str(made))
        return batches_in(str(made))

    def _ask(self, timeout_sec: float, what: str, **told: Any) -> Any:
        try:
            return self._process.ask({"ask": what, **told}, timeout_sec)
        except (Failed, OSError) as failure:
            raise StageFailed(f"{self.name} failed: {failure}.", self._hint) from None


@contextmanager
def contestants() -> Iterator[Callable[[Variant, Spec, Task, Path], Contestant]]:
    """Starts contestants, whose files go into a folder; all processes end with the block. Raises StageFailed for one
    that can't take part, with the reason."""
    processes: list[Confined] = []

    def start(entry: Variant, spec: Spec, task: Task, scratch: Path) -> Contestant:
        _check_installed(entry, spec)
        order = _order(entry, spec, task)
        if entry.kind in _CONVERTED:
            order["place"] = _converted(entry, order, task, spec.graphs or scratch)
        process = _process(entry, spec, scratch)
        processes.append(process)
        return Contestant(entry.name, process, order, _HOW_TO_KERAS if entry.kind in _OF_TENSORFLOW else _LEAVE_IT)

    try:
        yield start
    finally:
        for process in processes:
            process.close()


def _check_installed(entry: Variant, spec: Spec) -> None:
    if entry.kind in _OF_TENSORFLOW and spec.keras_python is None:
        raise StageFailed(f"{entry.name} is not installed.", _HOW_TO_KERAS)
    if command := how_to_install(PACKAGES.get(entry.kind, ())):
        raise StageFailed(f"{entry.name} is not installed.", f"Run `{command}`; the extra {EXTRA} has all.")


def _process(entry: Variant, spec: Spec, scratch: Path) -> Confined:
    memory_bytes = psutil.virtual_memory().total
    if entry.kind not in _OF_TENSORFLOW or spec.keras_python is None:
        return Confined(_WORKER, memory_bytes)
    return Confined(_ELSEWHERE, memory_bytes, (spec.keras_python, our_modules(scratch / "modules")))


def our_modules(folder: Path) -> Path:
    """A folder in which another Python finds of our modules those that it can load, and of our packages nothing."""
    if not folder.is_dir():
        (folder / "tuner").mkdir(parents=True)
        (folder / "rpc").symlink_to(Path(rpc.confined.__file__).parent)
        (folder / "tuner" / "bench").symlink_to(Path(__file__).parent)
    return folder


def _order(entry: Variant, spec: Spec, task: Task) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "place": entry.path,
        "threads": spec.threads,
        "source": asdict(spec.source),
        "folder": str(spec.folder) if spec.folder else "",
        "seed": spec.seed,
        "inputs": str(task.file),
        "inputs_of_graph": [] if entry.path else list(task.inputs),
        "outputs": list(task.outputs),
    }


def _converted(entry: Variant, order: Mapping[str, Any], task: Task, into: Path) -> str:
    process = Confined(_CONVERTER, psutil.virtual_memory().total)
    told = {name: order[name] for name in ("kind", "source", "folder", "seed", "inputs")}
    try:
        return str(process.ask({**told, "into": str(into), "any_length": task.lengths is not None}, _ENTER_SEC))
    except (Failed, OSError) as failure:
        raise StageFailed(f"{entry.name} has no graph of this model: {failure}.", _LEAVE_IT) from None
    finally:
        process.close()
