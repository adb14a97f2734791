"""Files of models as people have them, exported from a folder: ONNX in optimum's way, programs of torch.export."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def export_onnx(
    folder: Path, file: Path, dynamo: bool = False, inputs: tuple[str, ...] = INPUTS, **options: Any
) -> Path:
    """Export the model in ``folder``, with all its outputs and any batch and length, as ``file``.

    As optimum does, names are those of the library and its forward is given what the model takes, without a wrapper;
    ``within``: as the part ``model`` of a module of somebody's own, as many do by hand.
    """
    import torch

    from tests.support.model_files import in_place
    from tuner.importers.huggingface import load_torch

    loaded = load_torch(in_place(str(folder), **({"head": options.pop("head")} if "head" in options else {})))
    network: Any = loaded.network
    names = [name for name in inputs if name in loaded.input_names]
    outputs = list(options.pop("output_names", loaded.output_names))
    within = options.pop("within", False)
    called = list(options.pop("names", names))
    example = [torch.full((2, 16), 7), torch.ones(2, 16, dtype=torch.int64), torch.zeros(2, 16, dtype=torch.int64)]
    given = {name: example[INPUTS.index(name)] for name in names}
    forward = network.forward

    def plain(*values: Any, **named: Any) -> Any:
        made = forward(**dict(zip(names, values, strict=False)), **named)
        return tuple(made[name] for name in loaded.output_names)

    network.forward = plain
    axes = {name: {0: "batch", 1: "sequence"} for name in called}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' own
        if dynamo:
            dims = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in names}
            network.forward = forward
            torch.onnx.export(
                network, (), str(file), kwargs=given, dynamic_shapes=dims, dynamo=True, verbose=False, **options
            )
        else:
            holder = torch.nn.Module()
            holder.model = network
            holder.forward = lambda *values: network(*values)
            torch.onnx.export(
                holder if within else network,
                tuple(given.values()),
                str(file),
                input_names=called,
                output_names=outputs,
                dynamo=False,
                **{"opset_version": 14, "dynamic_axes": axes, **options},
            )
    return file


def export_sentence_onnx(folder: Path, file: Path, dynamo: bool = False, tokens: bool = True) -> Path:
    """Export a sentence-transformers folder as optimum does: all of its modules in one graph, with the outputs
    ``token_embeddings`` (not without ``tokens``) and ``sentence_embedding``."""
    import torch

    outputs = [*(["token_embeddings"] if tokens else []), "sentence_embedding"]
    names = INPUTS[:2]
    given = {name: torch.full((2, 16), 7) if name == "input_ids" else torch.ones(2, 16).long() for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's and the exporters' own
        from sentence_transformers import SentenceTransformer

        model: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        forward = model.forward

        def plain(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
            made = forward({"input_ids": input_ids, "attention_mask": attention_mask})
            return tuple(made[name] for name in outputs)

        model.forward = plain
        shared: dict[str, Any] = {"output_names": outputs, "dynamo": dynamo, "opset_version": 18 if dynamo else 14}
        if dynamo:
            dims = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in names}
            torch.onnx.export(
                model, (), file, kwargs=given, dynamic_shapes=dims, verbose=False, external_data=False, **shared
            )
        else:
            axes = {name: {0: "batch", 1: "sequence"} for name in names}
            example = tuple(given.values())
            torch.onnx.export(model, example, file, input_names=list(names), dynamic_axes=axes, **shared)
    return file


def save_encoder(folder: Path, file: Path, is_open: bool) -> Path:
    """Save the model in ``folder`` as a program of ``torch.export``, of any batch and length or of 2 x 16."""
    import torch

    from tests.support.model_files import in_place
    from tuner.importers.huggingface import load_torch

    loaded = load_torch(in_place(str(folder)))
    example = (torch.full((2, 16), 7), torch.ones(2, 16, dtype=torch.int64), torch.zeros(2, 16, dtype=torch.int64))
    given = dict(zip(loaded.input_names, example, strict=False))
    extent = torch.export.Dim.AUTO if is_open else None
    dims = {name: {0: extent, 1: extent} for name in given}
    file.parent.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(loaded.network, (), given, dynamic_shapes=dims, strict=False)
        torch.export.save(program, file)
    return file
