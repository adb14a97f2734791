"""A model of each family and head at one middle size, with seeded random weights, as a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from tuner.importers.families import FAMILIES
from tuner.schemas.common import Head

SIZE = {"hidden": 384, "layers": 6, "heads": 12, "wide": 1536, "vocabulary": 30522}
HEADS: tuple[str, ...] = get_args(Head)
NOT_THERE = {("nomic_bert", "question-answering"), ("nomic_bert", "multiple-choice")}  # the library has none

_USUAL: dict[str, Any] = {
    "vocab_size": SIZE["vocabulary"],
    "hidden_size": SIZE["hidden"],
    "num_hidden_layers": SIZE["layers"],
    "num_attention_heads": SIZE["heads"],
    "intermediate_size": SIZE["wide"],
    "max_position_embeddings": 514,
    "type_vocab_size": 2,
    "pad_token_id": 0,
}
_OF_FAMILY: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 128, "hidden_act": "gelu_new"},
    "deberta-v2": {
        "type_vocab_size": 0,
        "relative_attention": True,
        "position_buckets": 256,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
    },
    "electra": {"embedding_size": 128},
    "modernbert": {"bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3},
}
_DISTILBERT = {
    "vocab_size": SIZE["vocabulary"],
    "dim": SIZE["hidden"],
    "n_layers": SIZE["layers"],
    "n_heads": SIZE["heads"],
    "hidden_dim": SIZE["wide"],
    "pad_token_id": 0,
}


def size() -> str:
    """The size of all of them, in words."""
    return f"hidden {SIZE['hidden']}, {SIZE['layers']} layers, {SIZE['heads']} heads, seeded random weights"


def config_of(family: str) -> dict[str, Any]:
    """Fields of the family's configuration."""
    if family == "distilbert":
        return dict(_DISTILBERT)
    behind = {"pad_token_id": 1, "type_vocab_size": 1} if FAMILIES[family].behind_padding else {}
    return _USUAL | behind | _OF_FAMILY.get(family, {})


def write_family(family: str, head: str, folder: Path) -> Path:
    """The folder with the model, made where it is not there whole."""
    done = folder / ".whole"
    if done.is_file():
        return folder
    import torch  # loaded by those who make one
    from transformers import AutoConfig

    from tuner.importers.huggingface import class_of

    config = AutoConfig.for_model(family, **config_of(family), num_labels=2)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = class_of(head).from_config(config)
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            else:
                parameter.normal_(0.0, parameter.shape[-1] ** -0.5)
    folder.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(folder)
    if head == "sentence-embedding":
        _write_modules(folder)
    done.touch()
    return folder


def _write_modules(folder: Path) -> None:
    package = "sentence_transformers.models"
    kinds = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
    listed = [{"idx": n, "name": str(n), "path": p, "type": f"{package}.{kind}"} for n, (kind, p) in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": SIZE["hidden"], "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
