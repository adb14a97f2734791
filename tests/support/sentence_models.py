"""Tiny sentence-transformers folders, written out as the library's releases write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.tiny_models import CONFIGS, write_model

OLD, NEW = "sentence_transformers.models", "sentence_transformers.sentence_transformer.modules"
FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
TANH = "torch.nn.modules.activation.Tanh"


def write_sentence_model(
    folder: Path,
    kind: str = "bert",
    modes: tuple[str, ...] = ("mean",),
    dense: dict[str, Any] | None = None,
    norm: bool = False,
    normalize: bool = True,
    new: bool = False,
    max_seq_length: int | None = 48,
    **about: Any,
) -> Path:
    """An encoder of ``CONFIGS`` and the modules behind it. ``dense``: fields of its configuration (it has random
    weights); ``new``: as releases from 5.5 on write it; ``about``: fields of ``config_sentence_transformers.json``."""
    write_model(folder, kind)
    config = CONFIGS[kind]
    width = config.get("hidden_size") or config["dim"]
    modules = [("Transformer", "", None)]
    pooling: dict[str, Any] = {"word_embedding_dimension": width}
    pooling |= {flag: mode in modes for mode, flag in FLAGS.items()}
    if new:
        pooling = {"embedding_dimension": width, "pooling_mode": list(modes), "include_prompt": True}
    modules.append(("Pooling", "1_Pooling", pooling))
    width *= len(modes)
    if dense is not None:
        fields = {"in_features": width, "out_features": 12, "bias": True, "activation_function": TANH} | dense
        modules.append(("Dense", "2_Dense", fields))
        width = fields["out_features"]
    if norm:
        modules.append(("LayerNorm", "3_LayerNorm", {"dimension": width}))
    if normalize:
        modules.append(("Normalize", "4_Normalize", None))
    package = NEW if new else OLD
    listed = [
        {"idx": n, "name": str(n), "path": where, "type": f"{package}.{name}"}
        for n, (name, where, _) in enumerate(modules)
    ]
    write_json(folder / "modules.json", listed)
    for name, where, fields in modules:
        if fields is not None:
            write_json(folder / where / "config.json", fields)
        if name in ("Dense", "LayerNorm"):
            _write_weights(folder / where, name, fields or {})
    if max_seq_length:
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_seq_length, "do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", {"__version__": {}, **about})
    return folder


def write_json(file: Path, content: Any) -> None:
    """Write it, and the folder that it lies in."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))


def _write_weights(folder: Path, name: str, fields: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(7)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.4

    if name == "LayerNorm":
        size = fields["dimension"]
        save_file({"norm.weight": 1 + drawn(size), "norm.bias": drawn(size)}, folder / "model.safetensors")
        return
    inputs, outputs = fields["in_features"], fields["out_features"]
    tensors = {"linear.weight": drawn(outputs, inputs)}
    if fields["bias"]:
        tensors["linear.bias"] = drawn(outputs)
    if fields.get("use_residual") and inputs != outputs:
        tensors["residual.weight"] = drawn(outputs, inputs)
    save_file(tensors, folder / "model.safetensors")
