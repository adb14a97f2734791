"""Imported models on disk, keyed by what they are made from. A cache: delete it and the next job makes it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from safetensors.numpy import load_file, save_file

from rpc.drafts import draft
from rpc.versions import PINS
from tuner.graph.pipeline import PIPELINE_VERSION, Prepared, prepare
from tuner.importers import hub, shelf
from tuner.importers.huggingface import load_torch
from tuner.importers.operators.importer import OUTPUT, PYTORCH, load_operator, prepare_operator, reference
from tuner.importers.pytorch import export
from tuner.importers.reference import reference_outputs, sample_inputs
from tuner.importers.source import ModelSource


@dataclass(frozen=True)
class Tensor:
    """Name, shape and dtype of an input or output."""

    name: str
    shape: list[int]
    dtype: str


@dataclass(frozen=True)
class Sample:
    """Inputs by name and the outputs PyTorch gives for them."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class Imported:
    """A model ready to be tuned: what it is, its kernels and parameters, and what it must compute."""

    key: str
    name: str
    location: str
    family: str
    head: str
    weights: str
    note: str
    max_seq_len: int | None
    inputs: list[Tensor]
    outputs: list[Tensor]
    samples: int
    against: str = PYTORCH  # what its outputs are compared with
    sampled: str = "tokenised text, padded and full"


def import_key(source: ModelSource, batch: int, seq_len: int) -> str:
    """Identity of an import: the source with its files' sizes and times, the shape, and everything that reads them.

    A preset whose trained weights have come since it was imported with random ones is another model.
    """
    described = {
        "source": asdict(source),
        "files": [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in source.files],
        "lacks_weights": hub.lacks_weights(source),
        "shape": [batch, seq_len],
        "versions": [PIPELINE_VERSION, PINS],
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:20]


def import_source(source: ModelSource, batch: int, seq_len: int, root: Path) -> Imported:
    """Import a model, or find it in the cache below ``root``. Raises what loading and exporting raise.

    ``hub.fetch_weights`` is called before; a preset that lacks its trained weights then gets random ones.
    """
    key = import_key(source, batch, seq_len)
    if known := find(root, key):
        return known
    if source.source == "operator":
        return _import_operator(key, source, root)
    loaded = load_torch(source)
    samples = sample_inputs(loaded, batch, seq_len)
    wanted = [reference_outputs(loaded, inputs) for inputs in samples]
    prepared = prepare(export(loaded, batch, seq_len))
    imported = Imported(
        key=key,
        name=source.name,
        location=loaded.source.location,
        family=loaded.source.family,
        head=loaded.source.head,
        weights=loaded.weights,
        note=loaded.note,
        max_seq_len=loaded.source.max_seq_len,
        inputs=_tensors(loaded.input_names, samples[0]),
        outputs=_tensors(loaded.output_names, wanted[0]),
        samples=len(samples),
    )
    return _keep(root, imported, prepared, [Sample(i, o) for i, o in zip(samples, wanted, strict=True)])


def find(root: Path, key: str) -> Imported | None:
    """The import of this key, which is used now; None when it is not in the cache, or not any more."""
    try:
        shelf.note_use(root, key)
        return describe(root, key)
    except FileNotFoundError:
        return None


def _import_operator(key: str, source: ModelSource, root: Path) -> Imported:
    loaded = load_operator(source)
    samples = loaded.samples()
    wanted = [reference(loaded, inputs) for inputs in samples]
    imported = Imported(
        key=key,
        name=source.name,
        location=source.location,
        family=source.family,
        head="",
        weights=source.weights,
        note="",
        max_seq_len=None,
        inputs=_tensors(tuple(loaded.inputs), samples[0]),
        outputs=_tensors((OUTPUT,), wanted[0]),
        samples=len(samples),
        against=loaded.against,
        sampled="seeded normal numbers",
    )
    prepared = prepare_operator(loaded)
    return _keep(root, imported, prepared, [Sample(i, o) for i, o in zip(samples, wanted, strict=True)])


def describe(root: Path, key: str) -> Imported:
    """What an import in the cache is."""
    values = json.loads((root / key / shelf.ABOUT).read_text())
    for field in ("inputs", "outputs"):
        values[field] = [Tensor(**tensor) for tensor in values[field]]
    return Imported(**values)


def load_prepared(root: Path, imported: Imported) -> Prepared:
    """Kernels and parameters of an import."""
    folder = root / imported.key
    params = load_file(folder / "params.safetensors")
    ordered = [params[f"p{index}"] for index in range(len(params))]
    return Prepared(load_module(root, imported), ordered, len(imported.inputs))


def load_module(root: Path, imported: Imported) -> Any:
    """Kernels of an import, without its parameters."""
    return tvm.ir.load_json((root / imported.key / "module.json").read_text())


def load_samples(root: Path, imported: Imported) -> list[Sample]:
    """What the model must compute."""
    samples = []
    for index in range(imported.samples):
        with np.load(root / imported.key / f"sample{index}.npz") as arrays:
            inputs = {t.name: arrays[f"in.{t.name}"] for t in imported.inputs}
            outputs = {t.name: arrays[f"out.{t.name}"] for t in imported.outputs}
        samples.append(Sample(inputs, outputs))
    return samples


def named_params(params: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters as safetensors wants them: ``p0``, ``p1``, ... in call order."""
    return {f"p{index}": np.ascontiguousarray(value) for index, value in enumerate(params)}


def _is_kept(root: Path, key: str) -> bool:
    return (root / key / shelf.ABOUT).is_file()


def _keep(root: Path, imported: Imported, prepared: Prepared, samples: list[Sample]) -> Imported:
    """Put an import into the cache, whole or not at all; returns what is kept there, which another worker may have
    imported meanwhile."""
    with draft(root) as scratch:
        folder = scratch / imported.key
        _write(folder, imported, prepared, samples)
        try:
            folder.rename(root / imported.key)
        except OSError:
            if not _is_kept(root, imported.key):
                raise
    return describe(root, imported.key)


def _write(folder: Path, imported: Imported, prepared: Prepared, samples: list[Sample]) -> None:
    folder.mkdir()
    (folder / "module.json").write_text(str(tvm.ir.save_json(prepared.mod)))
    save_file(named_params(prepared.params), folder / "params.safetensors")
    for index, sample in enumerate(samples):
        arrays = {f"in.{name}": value for name, value in sample.inputs.items()}
        arrays |= {f"out.{name}": value for name, value in sample.outputs.items()}
        np.savez(folder / f"sample{index}.npz", **arrays)  # type: ignore[arg-type]
    (folder / shelf.ABOUT).write_text(json.dumps(asdict(imported)))


def _tensors(names: tuple[str, ...], arrays: Mapping[str, np.ndarray]) -> list[Tensor]:
    return [Tensor(name, list(arrays[name].shape), str(arrays[name].dtype)) for name in names]
