"""Imported models on disk, keyed by what they are made from. A cache: delete it and the next job makes it again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from safetensors.numpy import load_file, save_file

from rpc.drafts import draft
from rpc.lean import importing_transformers
from rpc.versions import PINS
from tuner.graph.as_json import from_json
from tuner.graph.launches import launches
from tuner.graph.pipeline import GPU_VERSION, PIPELINE_VERSION, Prepared, prepare
from tuner.graph.surroundings import Launch
from tuner.importers import shelf, tensors
from tuner.importers.families import check_texts
from tuner.importers.memory import check_memory, config_of
from tuner.importers.model_file import is_of_file, is_program
from tuner.importers.operators.apart import import_apart
from tuner.importers.operators.importer import OUTPUT, PYTORCH, load_operator, prepare_operator, reference
from tuner.importers.snapshot import Fetched
from tuner.importers.tensors import Tensor
from tuner.lengths import MOST_TOKENS, UNKNOWN_LONGEST

_TOKENIZER = "tokenizer"  # the folder of its files in an import
_ORIGINS = "origins.json"  # names of what each parameter is made of
TOKENISED = "tokenised text, padded and full"  # what the samples of an import are
HASHED = "text of words hashed to ids, padded and full"  # of one without a tokenizer
_SAMPLED_TEXTS, _SAMPLED_TOKENS = 5, 96  # of an import for texts; its samples are padded, its module skips that


@dataclass(frozen=True)
class Shape:
    """What a model is imported for: ``batch`` sequences of ``seq_len`` tokens, or ``texts`` of any number and lengths,
    for a ``kind`` of target."""

    batch: int = 1
    seq_len: int = 128
    texts: bool = False
    kind: str = "llvm"


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
    sampled: str = TOKENISED
    texts: dict[str, int] = field(default_factory=dict)  # of texts of any lengths: longest, most_tokens, first_position
    revision: str = ""  # commit of a hub model
    about: dict[str, Any] = field(default_factory=dict)  # as LoadedModel has it
    faithful: dict[str, Any] = field(default_factory=dict)  # how far its plain form is from the library's own
    tokenizer: list[str] = field(default_factory=list)  # names of its files; none: there is none, as ``note`` says


def import_key(fetched: Fetched, shape: Shape) -> str:
    """Identity of an import: the source with its revision, the snapshot of its files, the shape, and everything that
    reads them.

    A preset whose trained weights have come since it was imported with random ones is another model.
    """
    on_cpu = {"fused_attention": True}  # as it was called when only that differed: what was imported since is found
    kind = on_cpu if shape.kind == "llvm" else {"kind": shape.kind, "version": GPU_VERSION}
    described = {
        "source": asdict(replace(fetched.source, stamp="")),
        "snapshot": fetched.folder.name if fetched.folder else "",
        "shape": {"batch": shape.batch, "seq_len": shape.seq_len, "texts": shape.texts} | kind,
        "versions": [PIPELINE_VERSION, PINS],
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:20]


def import_source(fetched: Fetched, shape: Shape, root: Path, memory_bytes: int | None = None) -> Imported:
    """Import a model, or find it in the cache below ``root``; a preset without files gets random weights.

    Raises what loading and exporting raise, and MemoryShort before more than ``memory_bytes`` are taken, or, without a
    number, more than the machine has to spare.
    """
    key = import_key(fetched, shape)
    if known := find(root, key):
        return known
    if fetched.source.source == "operator":
        if fetched.folder is None:
            return import_operator(key, fetched, root)
        import_apart(key, fetched, root)
        return describe(root, key)
    if is_program(fetched.folder):
        from tuner.importers.programs.importing import import_file

        return import_file(key, fetched, shape, root)
    if shape.texts:
        check_texts(fetched.source.family, fetched.source.head)
    sampled = (_SAMPLED_TEXTS, _SAMPLED_TOKENS) if shape.texts else (shape.batch, shape.seq_len)
    check_memory(fetched.source.name, config_of(fetched.source, fetched.folder), *sampled, memory_bytes)
    # Seconds, of which a worker that has its import knows nothing.
    with importing_transformers():
        from tuner.importers.faithful import check_faithful
        from tuner.importers.huggingface import load_torch
        from tuner.importers.original import check_original
        from tuner.importers.pytorch import export, export_texts
        from tuner.importers.reference import reference_outputs, sample_inputs
        from tuner.importers.taken import importable

    loaded = load_torch(fetched)
    faithful = check_faithful(loaded, shape.seq_len)
    if is_of_file(fetched.folder):
        check_original(loaded, fetched, shape.seq_len, root)
    texts: dict[str, int] = {}
    if shape.texts:
        longest = loaded.source.max_seq_len or UNKNOWN_LONGEST
        texts = {"longest": longest, "most_tokens": max(MOST_TOKENS, longest)}
        texts["first_position"] = loaded.module.first_position
        prepared = prepare(importable(export_texts(loaded, texts["most_tokens"])), longest=longest)
        samples = sample_inputs(loaded, _SAMPLED_TEXTS, min(longest, _SAMPLED_TOKENS))
    else:
        prepared = prepare(importable(export(loaded, shape.batch, shape.seq_len)), shape.kind)
        samples = sample_inputs(loaded, shape.batch, shape.seq_len)
    wanted = [reference_outputs(loaded, inputs) for inputs in samples]
    if texts:
        wanted = [_without_padding(*pair) for pair in zip(samples, wanted, strict=True)]
    names, results = loaded.input_names, loaded.output_names
    taken = tensors.text_inputs(names) if texts else tensors.of_arrays(names, samples[0])
    given = tensors.text_outputs(results, wanted[0]) if texts else tensors.of_arrays(results, wanted[0])
    imported = Imported(
        key=key,
        name=loaded.source.name,
        location=loaded.source.location,
        revision=loaded.source.revision,
        family=loaded.source.family,
        head=loaded.source.head,
        weights=loaded.weights,
        note=loaded.note,
        max_seq_len=loaded.source.max_seq_len,
        inputs=tensors.bounded(loaded, taken),
        outputs=given,
        samples=len(samples),
        sampled=TOKENISED if loaded.tokenizer is not None else HASHED,
        texts=texts,
        about=loaded.about,
        faithful=faithful,
    )
    pairs = [Sample(i, o) for i, o in zip(samples, wanted, strict=True)]
    if loaded.tokenizer is None or fetched.folder is None:
        return keep(root, imported, prepared, pairs)
    from tuner.importers.tokenizer import write_tokenizer

    with draft(root) as scratch:
        files = write_tokenizer(loaded.tokenizer, fetched.folder, scratch / _TOKENIZER)
        return keep(root, replace(imported, tokenizer=files), prepared, pairs, scratch / _TOKENIZER)


def find(root: Path, key: str) -> Imported | None:
    """The import of this key, which is used now; None when it is not in the cache, or not any more."""
    try:
        shelf.note_use(root, key)
        return describe(root, key)
    except FileNotFoundError:
        return None


def import_operator(key: str, fetched: Fetched, root: Path) -> Imported:
    """Import an operator in this process; one of the user's own may end it."""
    source, loaded = fetched.source, load_operator(fetched)
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
        inputs=tensors.of_arrays(tuple(loaded.inputs), samples[0]),
        outputs=tensors.of_arrays((OUTPUT,), wanted[0]),
        samples=len(samples),
        against=loaded.against,
        sampled="seeded normal numbers",
    )
    prepared = prepare_operator(loaded)
    return keep(root, imported, prepared, [Sample(i, o) for i, o in zip(samples, wanted, strict=True)])


def describe(root: Path, key: str) -> Imported:
    """What an import in the cache is."""
    values = json.loads((root / key / shelf.ABOUT).read_text())
    for key_ in ("inputs", "outputs"):
        values[key_] = [Tensor(**tensor) for tensor in values[key_]]
    return Imported(**values)


def load_prepared(root: Path, imported: Imported) -> Prepared:
    """Kernels and parameters of an import."""
    folder = root / imported.key
    params = load_file(folder / "params.safetensors")
    ordered = [params[f"p{index}"] for index in range(len(params))]
    origins = json.loads((folder / _ORIGINS).read_text())
    return Prepared(load_module(root, imported), ordered, len(imported.inputs), origins)


def load_module(root: Path, imported: Imported) -> Any:
    """Kernels of an import, without its parameters."""
    return from_json((root / imported.key / "module.json").read_text())


def load_launches(root: Path, imported: Imported, mod: Any) -> list[Launch]:
    """The kernels of an import, or of what was made of its module, in the order in which they run."""
    return launches(mod, len(imported.inputs), json.loads((root / imported.key / _ORIGINS).read_text()))


def load_samples(root: Path, imported: Imported) -> list[Sample]:
    """What the model must compute."""
    samples = []
    for index in range(imported.samples):
        with np.load(root / imported.key / f"sample{index}.npz") as arrays:
            inputs = {key.removeprefix("in."): arrays[key] for key in arrays if key.startswith("in.")}
            outputs = {t.name: arrays[f"out.{t.name}"] for t in imported.outputs}
        samples.append(Sample(inputs, outputs))
    return samples


def copy_tokenizer(root: Path, imported: Imported, place: Path) -> None:
    """Put the files of the model's tokenizer into a folder."""
    for name in imported.tokenizer:
        shutil.copyfile(root / imported.key / _TOKENIZER / name, place / name)


def named_params(params: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters as safetensors wants them: ``p0``, ``p1``, ... in call order."""
    return {f"p{index}": np.ascontiguousarray(value) for index, value in enumerate(params)}


def keep(
    root: Path, imported: Imported, prepared: Prepared, samples: list[Sample], tokenizer: Path | None = None
) -> Imported:
    """Put an import into the cache, whole or not at all; returns what is kept there, which another worker may have
    imported meanwhile."""
    with draft(root) as scratch:
        folder = scratch / imported.key
        _write(folder, imported, prepared, samples)
        if tokenizer is not None:
            shutil.copytree(tokenizer, folder / _TOKENIZER)
        try:
            folder.rename(root / imported.key)
        except OSError:
            if not (root / imported.key / shelf.ABOUT).is_file():
                raise
    return describe(root, imported.key)


def _write(folder: Path, imported: Imported, prepared: Prepared, samples: list[Sample]) -> None:
    folder.mkdir()
    (folder / "module.json").write_text(str(tvm.ir.save_json(prepared.mod)))
    save_file(named_params(prepared.params), folder / "params.safetensors")
    (folder / _ORIGINS).write_text(json.dumps(prepared.origins))
    for index, sample in enumerate(samples):
        arrays = {f"in.{name}": value for name, value in sample.inputs.items()}
        arrays |= {f"out.{name}": value for name, value in sample.outputs.items()}
        np.savez(folder / f"sample{index}.npz", **arrays)  # type: ignore[arg-type]
    (folder / shelf.ABOUT).write_text(json.dumps(asdict(imported)))


def _without_padding(inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs with zeros where the inputs are padding, as a module for texts leaves it."""
    mask = inputs["attention_mask"]
    return {name: value * mask[..., None] if value.ndim == 3 else value for name, value in outputs.items()}
