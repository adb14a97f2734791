"""Tiny Hugging Face model folders, made in seconds: real architectures, real files, random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

WORDS = (  # noqa: SIM905
    "the a of and to in is it on was that with for as by at from river old small light morning stone city water "
    "train bread window paper table garden ship winter north people street glass bridge letter station"
).split()
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCAB = [*SPECIALS, *WORDS, *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"), ".", ","]

_BERT: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": len(VOCAB),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "minilm": _BERT | {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 96},
    "distilbert": {
        "model_type": "distilbert",
        "architectures": ["DistilBertModel"],
        "vocab_size": len(VOCAB),
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 64,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    },
    "roberta": _BERT
    | {
        "model_type": "roberta",
        "architectures": ["RobertaModel"],
        "type_vocab_size": 1,
        "max_position_embeddings": 66,
        "pad_token_id": 1,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
    "electra": _BERT | {"model_type": "electra", "architectures": ["ElectraModel"], "embedding_size": 16},
    "albert": _BERT
    | {"model_type": "albert", "architectures": ["AlbertModel"], "embedding_size": 16, "hidden_act": "gelu_new"},
    "deberta-v2": _BERT
    | {
        "model_type": "deberta-v2",
        "architectures": ["DebertaV2Model"],
        "type_vocab_size": 0,
        "relative_attention": True,
        "position_buckets": 8,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
    },
    "modernbert": _BERT
    | {
        "model_type": "modernbert",
        "architectures": ["ModernBertModel"],
        "global_attn_every_n_layers": 2,
        "local_attention": 8,
        "norm_eps": 1e-5,
        **dict.fromkeys(("bos_token_id", "cls_token_id"), 2),
        **dict.fromkeys(("eos_token_id", "sep_token_id"), 3),
    },
    "nomic_bert": _BERT | {"model_type": "nomic_bert", "architectures": ["NomicBertModel"]},
}
_ROBERTA = CONFIGS["roberta"]
CONFIGS |= {
    "camembert": _ROBERTA | {"model_type": "camembert", "architectures": ["CamembertModel"]},
    "mpnet": _ROBERTA | {"model_type": "mpnet", "architectures": ["MPNetModel"]},
    "xlm-roberta": _ROBERTA | {"model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"], "pad_token_id": 4},
}

_WORDPIECE = ("bert", "minilm", "distilbert", "electra", "albert", "nomic_bert")
_HEADS = {
    "encoder": "",
    "sequence-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "multiple-choice": "ForMultipleChoice",
    "masked-lm": "ForMaskedLM",
}

# As wide as BERT-base, in all else as small as can be.
WIDE_BERT = _BERT | {"hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 12, "intermediate_size": 3072}


def write_config_only(folder: Path, config: dict[str, Any]) -> Path:
    """A folder with nothing but ``config.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_untrained(folder: Path, config: dict[str, Any] | None = None) -> Path:
    """A folder that looks like a model to all who read headers only; needs no torch."""
    write_config_only(folder, config or CONFIGS["bert"])
    save_file({"embeddings.word_embeddings.weight": np.zeros((4, 4), np.float32)}, folder / "model.safetensors")
    return folder


def write_vocabulary(folder: Path) -> None:
    """WordPiece vocabulary files of BERT's tokenizer."""
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    )


def write_model(
    folder: Path,
    kind: str | dict[str, Any] = "bert",
    head: str = "encoder",
    seed: int = 0,
    tokenizer: bool = True,
    pickle: bool = False,
    shard_size: str = "1GB",
) -> Path:
    """A complete model folder that ``from_pretrained`` loads; ``kind`` is a key of ``CONFIGS`` or a config.

    Weights are spread wider than the library's default so that attention and outputs depend on the input.
    """
    import torch
    import transformers

    values = dict(CONFIGS[kind] if isinstance(kind, str) else kind)
    config = transformers.AutoConfig.for_model(
        values.pop("model_type"), **values, num_labels=2 if head == "question-answering" else 3
    )
    auto = getattr(transformers, f"AutoModel{_HEADS[head]}")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = auto.from_config(config)
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, max_shard_size=shard_size)
    if pickle:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    if tokenizer and values["vocab_size"] == len(VOCAB) and kind in _WORDPIECE:
        write_vocabulary(folder)
    return folder
