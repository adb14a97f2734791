"""An artifact: a tar named by what it is made from, so that the same request gives the same artifact."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from rpc.drafts import draft
from tuner.errors import InvalidInput

# What an artifact can be had as: whole, its library, its code as text, with all that a C++ program needs.
FORMATS = ("tar", "so", "dylib", "source", "bundle")

_BLOCK = 1 << 20
# What decides what an artifact computes and how fast; measured figures do not belong here, they differ each time.
_IDENTITY = (
    "model",
    "weights",
    "batch",
    "seq_len",
    "texts",
    "inputs",
    "outputs",
    "tokenizer",
    "target",
    "versions",
    "winners",
    "params_sha256",
)


def artifact_id(manifest: dict[str, Any]) -> str:
    """Identity from the parameters' hash, the records used, the target and the versions."""
    identity = {key: manifest.get(key) for key in _IDENTITY}
    return "art-" + hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]


def member_name(manifest: Mapping[str, Any], form: str) -> str:
    """The member that a format means: ``so`` or ``dylib`` the library, ``source`` its generated code as text.

    A library for macOS may be had under both names, one for Linux as ``so`` only. Raises InvalidInput.
    """
    library = str(manifest.get("library", "lib.so"))
    if form == "source":
        if "source" not in manifest:
            raise InvalidInput("This artifact was made without its source text.", "Compile the model again.")
        return str(manifest["source"])
    if form == "dylib" and not library.endswith(".dylib"):
        raise InvalidInput(f"This artifact is not for macOS: its library is {library}.", "Ask for the format so.")
    return library


def file_name(artifact_id: str, manifest: Mapping[str, Any], form: str) -> str:
    """What a download of this format is called. Raises InvalidInput when the artifact has none."""
    if form == "tar":
        return f"{artifact_id}.tar"
    if form == "bundle":
        return f"{artifact_id}-bundle.tar"
    member = member_name(manifest, form)
    return artifact_id + (Path(member).suffix if form == "source" else f".{form}")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return sha256_in(file)


def sha256_in(file: IO[bytes]) -> str:
    """SHA-256 of what is left of an open file, hex."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def pack(folder: Path, tar_path: Path) -> None:
    """Write ``folder``'s files into a tar, all or nothing; members without owner and time, the manifest first."""
    names = sorted((p.name for p in folder.iterdir() if p.is_file()), key=lambda name: (name != "manifest.json", name))
    with draft(tar_path.parent) as scratch:
        with tarfile.open(scratch / tar_path.name, "w") as tar:
            for name in names:
                tar.add(folder / name, arcname=name, filter=_plain)
        os.replace(scratch / tar_path.name, tar_path)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member
