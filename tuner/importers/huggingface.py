"""Load a resolved source as a PyTorch network with plain tensors in and out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.utils import logging as transformers_logging

from tuner.errors import ModelInvalid
from tuner.importers.families import FAMILIES, OUTPUTS, is_of_head
from tuner.importers.folder import has_safetensors
from tuner.importers.labels import labels_of
from tuner.importers.pooled import Tail, load_tail
from tuner.importers.presets import PRESETS
from tuner.importers.sentence import HEAD as EMBEDDING
from tuner.importers.sentence import read_sentence
from tuner.importers.snapshot import Fetched
from tuner.importers.source import ModelSource, Weights
from tuner.importers.tokenizer import load_tokenizer
from tuner.importers.wrapper import Attention, PlainModule

log = logging.getLogger(__name__)

_INPUTS = ("input_ids", "attention_mask")
_CLASSES: dict[str, Any] = {
    "sequence-classification": AutoModelForSequenceClassification,
    "token-classification": AutoModelForTokenClassification,
    "question-answering": AutoModelForQuestionAnswering,
    "multiple-choice": AutoModelForMultipleChoice,
    "masked-lm": AutoModelForMaskedLM,
}


@dataclass(frozen=True)
class LoadedModel:
    """A network ready for export and for reference runs.

    ``module`` takes the tensors of ``input_names`` in that order, each int32 ``(batch, seq)``, and returns a tuple of
    float32 tensors in the order of ``output_names``; it is in eval mode. ``network`` is the library's own model with
    the same parameters, for baselines. ``source`` is complete: family, head and maximum length are known, and its
    ``weights`` are ``random`` when any of them were not trained; ``note`` says why, and what else is to be known;
    ``about`` what its outputs mean, or what becomes of a text before it is an input.
    """

    source: ModelSource
    module: PlainModule
    network: PreTrainedModel
    tokenizer: Tokenizer | None
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    config: dict[str, Any]
    note: str = ""
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> Weights:
        """``pretrained`` or ``random``."""
        return self.source.weights


def load_torch(fetched: Fetched, seed: int = 0) -> LoadedModel:
    """Load a network in float32 from its files or, for a preset that lacks them, untrained.

    The same ``seed`` gives the same untrained weights. Raises ``ModelInvalid`` (files don't fit the architecture).
    """
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # what it would report of missing weights is said here, or no news
    source, folder = fetched.source, fetched.folder
    if folder is None:
        if source.head == EMBEDDING:
            raise ModelInvalid(
                f"The files of {source.location} are not on this machine, and they say how tokens become one vector.",
                "Give the folder of the model, or take --head encoder.",
            )
        note = (
            f"The trained weights of {source.location} are not on this machine: the hub can't be reached or gave none. "
            f"Using {source.name}'s architecture with random weights (seed {seed})."
        )
        log.warning(note)
        network = _untrained(PRESETS[source.name].config, source.head, seed)
        return _loaded(replace(source, weights="random"), network, None, note)
    network, untrained = _pretrained(folder, source, seed)
    tail, about = None, labels_of(source.head, network.config.to_dict())
    if source.head == EMBEDDING:
        sentence, width = read_sentence(folder), int(network.config.hidden_size)
        tail, about = load_tail(folder, sentence.steps, width, source.allow_pickle), sentence.about
    tokenizer, why_none = load_tokenizer(folder)
    notes = [why_none] if why_none else []
    if untrained:
        notes.append(f"{source.name} has no trained weights for its head, they are random: {', '.join(untrained)}.")
    if tokenizer is not None and len(tokenizer) > network.config.vocab_size:
        notes.append(
            f"The tokenizer of {source.name} knows {len(tokenizer)} tokens, the model {network.config.vocab_size}: "
            "texts with the others will be refused."
        )
    for note in notes:
        log.warning(note)
    source = replace(source, weights="random" if untrained else "pretrained")
    return _loaded(source, network, tokenizer, " ".join(notes), tail, about)


def class_of(head: str) -> Any:
    """The library's class for a head."""
    return _CLASSES.get(head, AutoModel)


def _attention(family: str) -> Attention:
    return "sdpa" if FAMILIES[family].sdpa else "eager"


def _pretrained(folder: Path, source: ModelSource, seed: int) -> tuple[PreTrainedModel, list[str]]:
    """The network with its trained weights, and the names of head parameters that had none (seeded random ones)."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network, report = class_of(source.head).from_pretrained(
                folder,
                use_safetensors=has_safetensors(folder),
                dtype=torch.float32,
                attn_implementation=_attention(source.family),
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # to say below which; the library's own refusal names none
            )
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ModelInvalid(
            f"The weights of {source.name} can't be loaded: {error}", "Download the model again."
        ) from error
    if report["mismatched_keys"]:
        name, stored, wanted = min(report["mismatched_keys"])
        raise ModelInvalid(
            f"{len(report['mismatched_keys'])} weights of {source.name} have another shape than config.json says, "
            f"first {name}: {list(stored)} instead of {list(wanted)}.",
            "Check that config.json and the weights are of the same model.",
        )
    missing = set(report["missing_keys"])
    if source.head not in _CLASSES and any(name.startswith("pooler.") for name in missing):
        # Checkpoints of masked language models carry no pooler; an untrained one would be noise.
        network.pooler = None
        missing = {name for name in missing if not name.startswith("pooler.")}
    lacking = sorted(name for name in missing if not is_of_head(name, network.base_model_prefix))
    strangers = sorted(name for name in report["unexpected_keys"] if not is_of_head(name, network.base_model_prefix))
    if lacking:
        beside = f", which has {strangers[0]}" if strangers else ""
        raise ModelInvalid(
            f"The weights of {source.name} lack {len(lacking)} tensors of the {source.family} encoder, "
            f"first {lacking[0]}{beside}.",
            "Check that config.json and the weights are of the same model, and that the names have no prefix.",
        )
    if strangers:
        raise ModelInvalid(
            f"{len(strangers)} weights of {source.name} are used by nothing that config.json describes, first "
            f"{strangers[0]}.",
            "Check that config.json and the weights are of the same model.",
        )
    return network, sorted(missing)


def _untrained(config: Mapping[str, Any], head: str, seed: int) -> PreTrainedModel:
    """The architecture with seeded random weights, scaled so that the outputs depend on every part of the network.

    The library's initialisation (standard deviation 0.02, zero biases, unit norms) makes attention almost uniform;
    here each matrix has standard deviation ``1 / sqrt(inputs)``, and biases and norms vary.
    """
    values = dict(config)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        family = values.pop("model_type")
        built = AutoConfig.for_model(family, **values)
        network = cast(PreTrainedModel, class_of(head).from_config(built, attn_implementation=_attention(family)))
        for module in network.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.normal_(0.0, module.in_features**-0.5)
                module.bias.normal_(0.0, 0.1)
            elif isinstance(module, torch.nn.LayerNorm):
                module.weight.normal_(1.0, 0.1)
                module.bias.normal_(0.0, 0.1)
    return network


def _loaded(
    source: ModelSource,
    network: PreTrainedModel,
    tokenizer: Tokenizer | None,
    note: str,
    tail: Tail | None = None,
    about: Mapping[str, Any] | None = None,
) -> LoadedModel:
    inputs = (*_INPUTS, "token_type_ids") if FAMILIES[source.family].segments else _INPUTS
    if source.head in OUTPUTS:
        outputs = OUTPUTS[source.head]
    elif getattr(network, "pooler", None) is not None:
        outputs = ("last_hidden_state", "pooler_output")
    else:
        outputs = ("last_hidden_state",)
    return LoadedModel(
        source=source,
        module=PlainModule(network.eval(), outputs, tail=tail).eval(),
        network=network,
        tokenizer=tokenizer,
        input_names=inputs,
        output_names=outputs,
        config=network.config.to_dict(),
        note=note,
        about=dict(about or {}),
    )
