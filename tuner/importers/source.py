"""Where a model comes from, decided from its name and the files at hand; torch-free, no network, quick."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from tuner.errors import InvalidInput, ModelInvalid, ModelUnknown, SequenceTooLong
from tuner.importers.config_checks import check_config, is_count
from tuner.importers.families import FAMILIES, head_of
from tuner.importers.folder import check_weights, has_pickle, has_safetensors, model_files, read_config
from tuner.importers.foreign import refuse_foreign_folder
from tuner.importers.model_file import check_format, graph_in
from tuner.importers.operators import catalog
from tuner.importers.operators.files import is_operator_file
from tuner.importers.packaged import packaged_folder
from tuner.importers.plain_file import stamp_of
from tuner.importers.presets import PRESETS, Preset
from tuner.importers.sentence import HEAD as EMBEDDING
from tuner.importers.sentence import is_sentence_model, read_sentence
from tuner.schemas.common import Head

Weights = Literal["pretrained", "random", "unknown"]

_HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>\w[\w./-]*))?", re.ASCII)
_PATH_LIKE = ("/", "./", "../", "~", ".\\", "..\\")


@dataclass(frozen=True)
class ModelSource:
    """A model's origin, all that is known before it is loaded.

    ``location`` is an absolute folder or file or a hub id, of an operator its spelling or its file. ``family`` and
    ``head`` are empty and ``max_seq_len`` (tokens) is ``None`` while they are unknown, which they are for a hub id
    until it is downloaded, for a file until it is copied, and always for one that holds no encoder. ``revision`` is
    what was asked for of a hub id (empty: the newest), then the commit that it was; ``stamp`` tells when a folder or
    file of the user's is written later.
    """

    name: str
    source: Literal["preset", "folder", "file", "hub", "operator"]
    location: str
    family: str
    head: Head | Literal[""]
    max_seq_len: int | None
    weights: Weights
    allow_pickle: bool = False
    revision: str = ""
    stamp: str = ""

    @property
    def folder(self) -> Path | None:
        """The local folder that holds the model, or ``None`` when it is on the hub, a file or an operator."""
        path = Path(self.location)
        return path if path.is_absolute() and self.source in ("preset", "folder") else None

    @property
    def is_on_hub(self) -> bool:
        """Do its files come from the hub?"""
        return self.source in ("preset", "hub") and self.folder is None

    @property
    def has_files(self) -> bool:
        """Does it consist of files? An operator known by name does not."""
        return self.source != "operator" or not catalog.is_operator(self.location)


def resolve_source(name: str, allow_pickle: bool = False, head: str | None = None) -> ModelSource:
    """Find out what a name means: an operator (``op:gemm:128,3072,768``), a preset, then a local folder, model's file
    or operator's file, then a hub id (``organisation/model``, ``organisation/model@revision``).

    Raises ``ModelUnknown`` (none of them), ``ModelInvalid`` (a folder that is no model we can load),
    ``FormatUnsupported`` (a file of another format) or ``InvalidInput`` (no such head, an operator's arguments).
    """
    wanted = _checked_head(head)
    name = name.strip()
    if catalog.is_operator(name):
        operator = catalog.parse(name)
        return _operator(operator.text, operator.text, operator.kind.name)
    if preset := PRESETS.get(name):
        return _from_preset(preset, wanted)
    path = Path(os.path.expanduser(name))  # Path's own raises for "~" and a user there is none of
    try:
        is_file, is_there = is_operator_file(path), bool(name) and path.exists()
        is_of_model = is_there and not is_file and not path.is_dir()
        if is_of_model:
            check_format(path)
    except OSError as error:  # a name too long for a file, a folder that may not be entered
        raise ModelUnknown(f"The model can't be looked for: {error.strerror}.", _nearest(name)) from None
    if is_file:
        return _operator(name, str(path.absolute()), "custom", _stamp([path]))
    if is_of_model:
        return _from_file(path, name, wanted)
    if is_there:
        return from_folder(path, name, allow_pickle, wanted)
    if name.startswith(_PATH_LIKE):
        raise ModelUnknown(
            f"There is no folder or file {path.absolute()}.",
            "Give the folder that holds config.json, or an .onnx or .pt2 file.",
        )
    if hub := _HUB_ID.fullmatch(name):
        revision = hub["revision"] or ""
        return ModelSource(name, "hub", hub["id"], "", wanted or "", None, "unknown", allow_pickle, revision)
    raise ModelUnknown(f"{name!r} is no preset, no folder and no hub id (organisation/model@revision).", _nearest(name))


def from_folder(path: Path, name: str, allow_pickle: bool, head: Head | None) -> ModelSource:
    """Describe the model in a folder after checking its configuration and the headers of its weights.

    Raises ``ModelInvalid`` naming the file that is missing or damaged.
    """
    path = path.absolute()
    if file := graph_in(path):
        return _from_file(file, name, head)
    if path.is_dir() and not has_safetensors(path) and not has_pickle(path):
        refuse_foreign_folder(path)
    config = read_config(path)
    check_config(path / "config.json", config)
    check_weights(path, allow_pickle)
    chosen = head or own_head(path, config)
    longest = max_seq_len(config)
    if chosen == EMBEDDING:
        longest = min(filter(None, (longest, read_sentence(path).longest)), default=None)
    return ModelSource(
        name=name,
        source="folder",
        location=str(path),
        family=config["model_type"],
        head=chosen,
        max_seq_len=longest,
        weights="pretrained",
        allow_pickle=allow_pickle,
        stamp=_stamp(model_files(path, allow_pickle)),
    )


def own_head(folder: Path, config: Mapping[str, Any]) -> Head:
    """What a folder was trained for. Raises ModelInvalid when its list of modules can't be read."""
    return EMBEDDING if is_sentence_model(folder) else head_of(config)


def max_seq_len(config: Mapping[str, Any]) -> int | None:
    """Longest sequence in tokens that the positions allow; ``None`` when the configuration doesn't say.

    Families that number positions from behind the padding id lose that many rows.
    """
    family = FAMILIES.get(str(config.get("model_type")))
    positions, padding = config.get("max_position_embeddings"), config.get("pad_token_id", 1)
    if not is_count(positions, least=0) or family is None or (family.behind_padding and not is_count(padding, least=0)):
        return None
    return max(positions - family.first_position(config), 0) or None


def check_seq_len(name: str, longest: int | None, seq_len: int) -> None:
    """Raise ``SequenceTooLong`` when ``seq_len`` tokens are more than the model's position embeddings allow."""
    if longest is not None and seq_len > longest:
        raise SequenceTooLong(
            f"{name} takes at most {longest} tokens, {seq_len} were asked for.", f"Use --seq-len {longest} or less."
        )


def _from_file(path: Path, name: str, head: Head | None) -> ModelSource:
    """A model that is one file; what it holds is seen when it is copied."""
    path = path.absolute()
    return ModelSource(name, "file", str(path), "", head or "", None, "pretrained", stamp=_stamp([path]))


def _operator(name: str, location: str, family: str, stamp: str = "") -> ModelSource:
    return ModelSource(name, "operator", location, family, "", None, "random", stamp=stamp)


def _stamp(files: list[Path]) -> str:
    try:
        return stamp_of(files)
    except OSError as error:
        raise ModelInvalid(f"{error.filename} went while it was looked at.", "Try again when it is there.") from None


def _from_preset(preset: Preset, head: Head | None) -> ModelSource:
    folder = packaged_folder(preset.package) if preset.package else None
    return ModelSource(
        name=preset.name,
        source="preset",
        location=str(folder) if folder else preset.hub_id,
        family=str(preset.config["model_type"]),
        head=head or "encoder",
        max_seq_len=max_seq_len(preset.config),
        weights="pretrained" if folder else "unknown",
    )


def _checked_head(head: str | None) -> Head | None:
    if head and head not in get_args(Head):
        raise InvalidInput(f"There is no head {head!r}.", f"Use one of: {', '.join(get_args(Head))}.")
    return cast("Head", head) if head else None


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, PRESETS, n=3, cutoff=0.4)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Presets: {', '.join(PRESETS)}."
