"""A module compiled, or run to be verified: here, or, where it holds what others wrote, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tuner.apart import Limits, answered
from tuner.artifact.loader import load
from tuner.compiler.dump import dumped
from tuner.compiler.module import Compiled, compile_into, read_manifest
from tuner.db.models import Record
from tuner.errors import PrecisionLossTooLarge, StageFailed, VerificationFailed
from tuner.importers import cache
from tuner.importers.cache import Imported, Sample
from tuner.importers.comparison import ATOL, RTOL, compare, worst
from tuner.importers.fidelity import BOUNDS
from tuner.importers.labels import decides
from tuner.importers.layers import what_helps, where_lost
from tuner.importers.operators.files import is_own, label
from tuner.importers.sentences import Gate, fidelity_of, layers_of
from tuner.kernels.context import make_target
from tuner.kernels.dots import dots_of
from tuner.kernels.precision import FULL, lowered

OTHERS_HINT = "It holds an operator or records of others: delete those of its kernels, or submit the job with --cold."
_SECONDS = 1200.0
_MEMORY_BYTES, _TIMES_PARAMS = 4 * 2**30, 8  # constants are folded, packed and written: each time a copy


@dataclass(frozen=True)
class Module:
    """The module of an import, in ``folder``; ``is_foreign``: an operator of a user's, or made of others' records.

    At a ``precision`` below float32 its outputs are judged by ``gate``, on sentences that are known. One that is there
    to be compared with only is run on the last of the samples, which is full texts and padded ones. All that
    compiling comes by goes into ``dump``, if there is one.
    """

    imports_dir: Path
    imported: Imported
    folder: Path
    is_foreign: bool
    precision: str = FULL
    gate: Gate = field(default_factory=Gate)
    is_compared: bool = False
    dump: Path | None = None

    def compile(self, target: dict[str, Any], winners: Mapping[str, tuple[str, list[float]]]) -> Compiled:
        """As ``compile_into``, and the model's tokenizer beside it."""
        compiled = Compiled(**self._made(Compile(self, target, dict(winners))))
        cache.copy_tokenizer(self.imports_dir, self.imported, self.folder)
        return compiled

    def verify(self, what: str) -> dict[str, Any]:
        """Run it on the import's samples; as ``verification``."""
        found: dict[str, Any] = self._made(Verify(self, what))
        return found

    def _made(self, step: Compile | Verify) -> Any:
        if not self.is_foreign:
            return step.make()
        limits = Limits(_SECONDS, most_bytes(self.imports_dir, self.imported))
        return answered("tuner.jobs.making_worker", step, limits, self._blamed)

    def _blamed(self, end: str) -> StageFailed:
        return StageFailed(
            f"The module of {label(self.imported.name)} could not be made or run: {end}.",
            OTHERS_HINT,
        )


@dataclass(frozen=True)
class Compile:
    """Compile the winners of a module for a target."""

    module: Module
    target: dict[str, Any]
    winners: dict[str, tuple[str, list[float]]]

    def make(self) -> dict[str, Any]:
        """The fields of ``Compiled``."""
        prepared = cache.load_prepared(self.module.imports_dir, self.module.imported)
        kernels = lowered(prepared.mod, self.module.precision, make_target(self.target))
        prepared = prepared.of_kernels(kernels)
        with dumped(self.module.dump):
            return asdict(compile_into(self.module.folder, prepared, self.target, self.winners))


@dataclass(frozen=True)
class Verify:
    """Compare a module's outputs with those of its samples."""

    module: Module
    what: str

    def make(self) -> dict[str, Any]:
        """A manifest's ``verification``."""
        return verification(load(self.module.folder).run, self.module, self.what)


def most_bytes(imports_dir: Path, imported: Imported) -> int:
    """Memory that a process may have which makes or runs what others wrote, libraries not counted."""
    return _MEMORY_BYTES + _TIMES_PARAMS * (imports_dir / imported.key / "params.safetensors").stat().st_size


def holds_foreign(imported: Imported, records: Mapping[str, Record]) -> bool:
    """Is a module of this import and these records, by workload, made of what others wrote?"""
    return is_own(imported.location) or any(record.source == "imported" for record in records.values())


def is_foreign(imported: Imported, manifest: Mapping[str, Any]) -> bool:
    """The same of a module that is made, by its manifest."""
    return is_own(imported.location) or bool(manifest.get("imported_records"))


def verification(run: Callable[..., dict[str, np.ndarray]], module: Module, what: str) -> dict[str, Any]:
    """A manifest's ``verification``: outputs of ``run`` against the samples', or, at a lower precision, its fidelity,
    with the reason why it is ``refused`` where it is.

    Raises VerificationFailed, naming ``what``.
    """
    imported = module.imported
    if module.precision != FULL:
        return _fidelity(run, module)
    samples = cache.load_samples(module.imports_dir, imported)[-1 if module.is_compared else 0 :]
    found = worst([compare(run(**sample.inputs), sample.outputs) for sample in samples])
    if imported.texts and not module.is_compared:
        found = worst([found, *(compare(run(**one.inputs), one.outputs) for one in alone(samples))])
    if not found.ok:
        raise VerificationFailed(
            f"The {what} differs from PyTorch: absolute error {found.max_abs_error:.2e}, "
            f"relative {found.max_rel_error:.2e}; tolerated are {ATOL:g} or {RTOL:g}.",
            "Submit the job again with --cold; if it stays, a kernel is compiled wrongly: please report it.",
        )
    return {
        "max_abs_error": found.max_abs_error,
        "max_rel_error": found.max_rel_error,
        "tolerance": {"absolute": ATOL, "relative": RTOL},
        "inputs": f"{len(samples)} samples of {imported.sampled}",
        "against": imported.against,
    }


def _fidelity(run: Callable[..., dict[str, np.ndarray]], module: Module) -> dict[str, Any]:
    gate = module.gate
    found = fidelity_of(module.imports_dir, module.imported, gate, run)
    least_mean, least = BOUNDS[module.precision]
    bounds = {"cosine_mean": least_mean, "cosine_min": least}
    dots = dots_of(make_target(read_manifest(module.folder)["target"]))
    layers = layers_of(module.imports_dir, module.imported, gate, module.precision, dots)
    refused = found.refusal(module.precision, gate.max_drop, decides(module.imported.head))
    return {
        "fidelity": found.as_dict()
        | {"bounds": bounds if gate.max_drop is None else bounds | {"drop": gate.max_drop}}
        | {"own_texts": len(gate.texts), "has_labels": decides(module.imported.head)}
        | ({"layers": layers} if layers else {}),
        "max_abs_error": found.max_abs_error,
        "inputs": f"{found.sentences} sentences, {len(gate.texts) or 'none'} of them given",
        "against": module.imported.against,
        **({"refused": refused} if refused else {}),
    }


def check_loss(found: Mapping[str, Any], precision: str, what: str) -> None:
    """Raise PrecisionLossTooLarge, naming ``what``, where a ``verification`` says that it is refused."""
    if reason := found.get("refused"):
        count, layers = found["fidelity"]["sentences"], found["fidelity"].get("layers", {})
        where = f" {where_lost(layers)}." if layers else ""
        raise PrecisionLossTooLarge(
            f"The {what} in {precision} is too far from float32 on {count} sentences: {reason}.{where}",
            what_helps(layers),
        )


def alone(samples: Sequence[Sample]) -> list[Sample]:
    """The texts of samples by themselves, with the outputs they have in company: padding and neighbours change
    nothing."""
    found = []
    for sample in samples:
        for row, length in enumerate(sample.inputs["attention_mask"].sum(axis=1)):
            inputs = {name: value[row : row + 1, :length] for name, value in sample.inputs.items()}
            outputs = {
                name: value[row : row + 1, :length] if value.ndim == 3 else value[row : row + 1]
                for name, value in sample.outputs.items()
            }
            found.append(Sample(inputs, outputs))
    return found
