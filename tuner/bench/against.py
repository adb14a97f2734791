"""The rivals that a job's module may be timed beside, by the names people give them. Loads none of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tuner.bench.spec import Kind, Variant
from tuner.errors import InvalidInput
from tuner.schemas.common import Precision

PYTORCH = "torch"  # eager and SDPA, which take part unasked too; asked for, each has a process of its own
ONNX, GRAPHDEF = ".onnx", "graphdef:"
# Kind of contestant, and what its products are computed in.
RIVALS: dict[str, tuple[Kind, Precision]] = {
    "torch-compile": ("torch-compile", "fp32"),
    "torch-bf16": ("torch-bf16", "bf16"),
    "onnxruntime": ("onnxruntime", "fp32"),
    "onnxruntime-optimised": ("onnxruntime-optimised", "fp32"),
    "onnxruntime-int8": ("onnxruntime-int8", "int8"),
    "openvino": ("openvino", "fp32"),
    "openvino-default": ("openvino-default", "bf16"),
    "openvino-int8": ("openvino-int8", "int8"),
    "keras": ("keras", "fp32"),
}
KNOWN = (PYTORCH, *RIVALS)
NAMES = {  # as people call them
    "torch-compile": "torch.compile",
    "torch-bf16": "PyTorch bf16",
    "onnxruntime": "ONNX Runtime",
    "onnxruntime-optimised": "ONNX Runtime optimised",
    "onnxruntime-int8": "ONNX Runtime int8",
    "openvino": "OpenVINO float32",
    "openvino-default": "OpenVINO as it is",
    "openvino-int8": "OpenVINO int8",
    "keras": "Keras",
}


@dataclass(frozen=True)
class Rival:
    """One that was asked for: ``name`` as given; ``file`` is what it opens, if that is a file or an upload."""

    name: str
    kind: Kind
    precision: Precision = "fp32"
    file: str = ""

    def variant(self, place: Path | None) -> Variant:
        """As a contestant, whose file lies at ``place``."""
        called = place.name if place else self.name
        return Variant(name=called, kind=self.kind, path=str(place or ""), precision=self.precision, optional=True)


def named(told: str | Iterable[str]) -> list[str]:
    """Names from a text with commas between, or from a list."""
    parts = told.split(",") if isinstance(told, str) else told
    return [name for name in map(str.strip, parts) if name]


def rivals(names: Iterable[str]) -> list[Rival]:
    """The rivals that are meant, each once; PyTorch, which takes part anyway, is none.

    Raises InvalidInput for a name that is none, with those that are.
    """
    return [_rival(name) for name in dict.fromkeys(names) if name != PYTORCH]


def _rival(name: str) -> Rival:
    if name in RIVALS:
        return Rival(name, *RIVALS[name])
    if name.endswith(ONNX) or name.startswith("upload:"):
        return Rival(name, "onnx-file", "int8", name)  # nobody says what it computes in: only nonsense is refused
    if name.startswith(GRAPHDEF):
        return Rival(name, "graphdef", "fp32", name.removeprefix(GRAPHDEF))
    raise InvalidInput(
        f"There is no rival called {name!r}.",
        f"Rivals are {', '.join(KNOWN)}, or a FILE{ONNX}, {GRAPHDEF}FILE.pb, or upload:NAME.",
    )
