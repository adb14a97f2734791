"""What a sentence-transformers folder puts behind its encoder: ``modules.json`` and what it names. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tuner.errors import ModelInvalid
from tuner.importers.config_checks import is_count
from tuner.importers.folder import read_object

MODULES = "modules.json"
HEAD: Final = "sentence-embedding"

_ABOUT = "config_sentence_transformers.json"
_FOLDER = re.compile(r"[0-9]+_[A-Za-z]+")
_HINT = "Leave that module out, or compile the encoder alone with --head encoder."
# What older releases call it: each a flag of its own, joined in this order.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
MODES = tuple(_FLAGS.values())
_ACTIVATIONS = {
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.GELU": "gelu",
    "torch.nn.modules.activation.SiLU": "silu",
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
    "torch.nn.modules.linear.Identity": "identity",
}
_NAMES = {"module_input_name", "module_output_name"}
_EMBEDDING = ("sentence_embedding", None)


@dataclass(frozen=True)
class Pooling:
    """One vector of a text's tokens for each of ``modes``, one behind the other."""

    modes: tuple[str, ...]


@dataclass(frozen=True)
class Dense:
    """A projection with its weights in ``folder``, an activation, and maybe its input added."""

    folder: str
    inputs: int
    outputs: int
    bias: bool
    activation: str
    residual: bool


@dataclass(frozen=True)
class Norm:
    """Layer normalisation with its weights in ``folder``."""

    folder: str
    size: int


@dataclass(frozen=True)
class Normalize:
    """To unit length."""


Step = Pooling | Dense | Norm | Normalize


@dataclass(frozen=True)
class Sentence:
    """From tokens to the embedding: ``steps`` behind the encoder; what is done to texts before it is ``about`` (the
    longest text in tokens, prompts, letters made small), as a manifest says it."""

    steps: tuple[Step, ...]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def longest(self) -> int | None:
        """Tokens of a text that are looked at; None where the folder does not say."""
        return self.about.get("max_seq_length")


def is_sentence_model(folder: Path) -> bool:
    """Does the folder say how texts become vectors? A reranker of that library says only what its encoder is."""
    return (folder / MODULES).is_file() and len(read_object(folder / MODULES, list)) > 1


def read_sentence(folder: Path) -> Sentence:
    """What the folder's modules are. Raises ModelInvalid naming what is not computed or can't be meant."""
    if not (folder / MODULES).is_file():
        raise ModelInvalid(
            f"{folder} has no {MODULES}, so nothing says how its tokens become one vector.",
            "Give the folder of a sentence-transformers model, or take another --head.",
        )
    (kind, where), *rest = _modules(folder)
    if kind != "Transformer" or where:
        raise ModelInvalid(
            f"{folder / MODULES} begins with {kind} in {where or 'the folder itself'!r}.",
            "Only encoders that lie beside it are compiled.",
        )
    steps = tuple(step for kind, where in rest if (step := _step(folder, kind, where)) is not None)
    if not steps or not isinstance(steps[0], Pooling) or any(isinstance(step, Pooling) for step in steps[1:]):
        raise ModelInvalid(f"{folder / MODULES} has no Pooling right behind its Transformer.", _HINT)
    return Sentence(steps, _about(folder))


def _modules(folder: Path) -> list[tuple[str, str]]:
    """Class and folder of each module."""
    file = folder / MODULES
    listed = read_object(file, list)
    found = []
    for one in listed:
        kind, where = (one.get("type"), one.get("path", "")) if isinstance(one, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(where, str):
            raise ModelInvalid(f"{file} has a module without its type or path.", "Download the model again.")
        package, _, name = kind.rpartition(".")
        if package.split(".")[0] != "sentence_transformers":
            raise ModelInvalid(f"{file} names {kind}, code of the model's own, which is not run.", _HINT)
        if where and not _FOLDER.fullmatch(where):
            raise ModelInvalid(f"{file} names {where!r}, which is no module's folder beside it.", _HINT)
        found.append((name, where))
    if not found:
        raise ModelInvalid(f"{file} names no modules.", "Download the model again.")
    return found


def _step(folder: Path, kind: str, where: str) -> Step | None:
    """A module; None for one that does nothing when a model is used."""
    file = folder / where / "config.json"
    config = read_object(file, dict) if where and file.is_file() else {}
    if kind == "Dropout":
        return None
    if kind == "Normalize":
        _check_keys(file, config, _NAMES)
        return Normalize()
    if kind == "Pooling":
        return _pooling(file, config)
    if kind == "Dense":
        return _dense(file, config, where)
    if kind == "LayerNorm":
        _check_keys(file, config, {"dimension"})
        return Norm(where, _size(file, config, "dimension"))
    raise ModelInvalid(f"{folder / MODULES} has a module {kind}, which is not computed.", _HINT)


def _pooling(file: Path, config: Mapping[str, Any]) -> Pooling:
    _check_keys(
        file, config, {*_FLAGS, "pooling_mode", "include_prompt", "embedding_dimension", "word_embedding_dimension"}
    )
    if config.get("include_prompt", True) is not True:
        raise _refused(file, "include_prompt", config["include_prompt"])
    modes = config.get("pooling_mode") or [mode for flag, mode in _FLAGS.items() if config.get(flag)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or (strange := [mode for mode in modes if mode not in MODES]):
        raise _refused(file, "pooling_mode", strange[0] if isinstance(modes, list) else modes)
    return Pooling(tuple(modes))


def _dense(file: Path, config: Mapping[str, Any], where: str) -> Dense:
    known = {"in_features", "out_features", "bias", "activation_function", "use_residual"}
    _check_keys(file, config, known | _NAMES)
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise _refused(file, "activation_function", activation)
    for flag in ("bias", "use_residual"):
        if not isinstance(config.get(flag, False), bool):
            raise _refused(file, flag, config[flag])
    return Dense(
        where,
        _size(file, config, "in_features"),
        _size(file, config, "out_features"),
        config.get("bias", True),
        _ACTIVATIONS[activation],
        config.get("use_residual", False),
    )


def _about(folder: Path) -> dict[str, Any]:
    encoder = next((read_object(file, dict) for file in sorted(folder.glob("sentence_*_config.json"))), {})
    found: dict[str, Any] = {}
    if (longest := encoder.get("max_seq_length")) is not None:
        if not is_count(longest):
            raise _refused(folder / "sentence_bert_config.json", "max_seq_length", longest)
        found["max_seq_length"] = longest
    if encoder.get("do_lower_case"):
        found["do_lower_case"] = True
    if encoder.get("transformer_task", "feature-extraction") != "feature-extraction":
        raise _refused(folder / "sentence_bert_config.json", "transformer_task", encoder["transformer_task"])
    about = read_object(folder / _ABOUT, dict) if (folder / _ABOUT).is_file() else {}
    prompts, default = about.get("prompts") or {}, about.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise _refused(folder / _ABOUT, "prompts", prompts)
    if default is not None and (not isinstance(default, str) or default not in prompts):
        raise _refused(folder / _ABOUT, "default_prompt_name", default)
    if prompts:
        found["prompts"] = prompts
    if default is not None:
        found["default_prompt_name"] = default
    if isinstance(similarity := about.get("similarity_fn_name"), str):
        found["similarity"] = similarity
    return found


def _check_keys(file: Path, config: Mapping[str, Any], known: set[str]) -> None:
    if strange := sorted(set(config) - known):
        raise _refused(file, strange[0], config[strange[0]])
    for name in _NAMES & set(config):
        if config[name] not in _EMBEDDING:
            raise _refused(file, name, config[name])


def _size(file: Path, config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if not is_count(value):
        raise ModelInvalid(f"{file} says {name} {value!r}.", "It must be a whole number above zero.")
    return value


def _refused(file: Path, name: str, value: object) -> ModelInvalid:
    return ModelInvalid(f"{file} says {name} {value!r}, which is not computed.", _HINT)
