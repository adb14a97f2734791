"""The configuration that libraries look for at a model: the caller's, or what an artifact tells of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from tuner.artifact.members import ArtifactError

_CLASSIFIERS = ("sequence-classification", "token-classification")


def config_of(manifest: dict[str, Any], given: Any = None) -> PretrainedConfig:
    """The library's configuration: ``given`` as one, as its dictionary, or as a folder with ``config.json``; else the
    artifact's own, as far as its manifest knows it: family, labels and width.

    Raises ArtifactError when what is given is of another family.
    """
    model = manifest.get("model") or {}
    if given is None:
        return _own(manifest, model)
    config = given
    if isinstance(given, dict):
        config = AutoConfig.for_model(**given)
    elif isinstance(given, (str, Path)):
        config = AutoConfig.from_pretrained(given, local_files_only=True)
    family = model.get("family")
    if family and config.model_type != family:
        raise ArtifactError(f"This artifact is of the family {family}, the config given is of {config.model_type}.")
    return config


def _own(manifest: dict[str, Any], model: dict[str, Any]) -> PretrainedConfig:
    try:
        config = AutoConfig.for_model(str(model.get("family")))
    except ValueError:
        config = PretrainedConfig()
    widths = {spec["name"]: spec["shape"][-1] for spec in manifest["outputs"] if spec["shape"]}
    if "last_hidden_state" in widths:
        config.hidden_size = widths["last_hidden_state"]
    if model.get("head") in _CLASSIFIERS:
        told = model.get("id2label") or {number: f"LABEL_{number}" for number in range(widths["logits"])}
        config.id2label = {int(number): label for number, label in told.items()}
        config.label2id = {label: number for number, label in config.id2label.items()}
        config.problem_type = model.get("problem_type")
    return config
