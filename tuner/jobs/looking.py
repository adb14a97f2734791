"""A model looked at here and now: its kernels before any job, and the model in forms that others read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tuner.config import Settings
from tuner.errors import InvalidInput
from tuner.graph.surroundings import Surroundings, around
from tuner.importers import cache
from tuner.importers.copies import Room
from tuner.importers.snapshot import borrowed
from tuner.jobs.standalone import Order, import_here
from tuner.kernels.context import make_target
from tuner.kernels.precision import lowered
from tuner.kernels.workload import ExtractedWorkload, extract, names_of

if TYPE_CHECKING:  # they load PyTorch, which who has the import does without
    from tuner.importers.huggingface import LoadedModel


def tasks_of(settings: Settings, order: Order, say: Callable[[str], None]) -> list[ExtractedWorkload]:
    """The distinct kernels of a model, in its order. Raises what importing raises."""
    imported, _ = import_here(settings, order, say)
    for verb, tensors in (("takes", imported.inputs), ("gives", imported.outputs)):
        say(f"it {verb} {', '.join(f'{one.name} {one.dtype}{one.shape}'.replace(chr(39), '') for one in tensors)}")
    return extract(cache.load_module(settings.imports_dir, imported), make_target(order.target.tvm))


def surroundings(settings: Settings, order: Order, workload: str, say: Callable[[str], None]) -> Surroundings:
    """The graph around one of a model's kernels, called by its name or id. Raises InvalidInput, or as ``tasks_of``."""
    imported, _ = import_here(settings, order, say)
    target = make_target(order.target.tvm)
    mod = lowered(cache.load_module(settings.imports_dir, imported), order.precision, target)
    found = extract(mod, target)
    called = {kernel: one.name for one in found for kernel in names_of(mod, one.mod)}
    meant = [one for one in found if workload in (one.name, one.id)]
    if not meant:
        raise InvalidInput(f"There is no kernel {workload!r}.", f"There are {', '.join(one.name for one in found)}.")
    kernels = {kernel for one in meant for kernel in names_of(mod, one.mod)}
    return around(cache.load_launches(settings.imports_dir, imported, mod), kernels, meant[0].name, called)


def export_relax(settings: Settings, order: Order, out: Path, say: Callable[[str], None]) -> None:
    """The graph that is tuned, as TVM's script; its parameters are arguments."""
    imported, _ = import_here(settings, order, say)
    out.write_text(str(cache.load_module(settings.imports_dir, imported).script()))


def export_onnx(settings: Settings, order: Order, out: Path) -> None:
    """The model as an ONNX graph, for the order's shape, or for any number of texts of any length if it has none."""
    from tuner.bench.graphs import onnx_for_any_length, onnx_of

    loaded, shape = _loaded(settings, order), _shape(order)
    out.write_bytes(onnx_of(loaded, _ones(loaded, shape)) if shape else onnx_for_any_length(loaded))


def export_program(settings: Settings, order: Order, out: Path) -> None:
    """The model as a program of ``torch.export`` for the order's shape, else 1 x 128."""
    import torch

    from tuner.importers.programs.loading import save_module

    loaded = _loaded(settings, order)
    arrays = _ones(loaded, _shape(order) or (1, order.shape_of(loaded.source).seq_len))
    save_module(loaded.module, [torch.from_numpy(arrays[name]) for name in loaded.input_names], out)


def _loaded(settings: Settings, order: Order) -> LoadedModel:
    if order.source.source in ("operator", "file"):
        raise InvalidInput(
            f"{order.source.name} is no encoder of the library's.", "It can be exported with --format relax."
        )
    from tuner.importers.huggingface import load_torch

    with borrowed(order.source, settings.sources_dir, Room(settings.max_model_bytes)) as fetched:
        return load_torch(fetched)


def _shape(order: Order) -> tuple[int, int] | None:
    if order.batch is None and order.seq_len is None:
        return None
    shape = order.shape_of(order.source)
    return shape.batch, shape.seq_len


def _ones(loaded: LoadedModel, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    return {name: np.ones(shape, np.int32) for name in loaded.input_names}
