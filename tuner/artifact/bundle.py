"""An artifact for programs that are not Python: with TVM's runtime, a C header and an example, as one tar."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tuner.artifact.format import sha256_in, sha256_of
from tuner.errors import ArtifactMissing, InvalidInput
from tuner.targets import triples

SUMS = "SHA256SUMS"
_NATIVE = Path(__file__).with_name("native")
_RUNTIME = {"apache-tvm": ("tvm/lib/libtvm_runtime.so",), "apache-tvm-ffi": ("tvm_ffi/lib/libtvm_ffi.so",)}
_HEADERS = "tvm_ffi/include"
_HEADER_FOLDERS = ("tvm", "dlpack")
_OF_PYTHON = (".py", ".jsonl", ".ll", ".s", ".c", ".metal")  # endings of members that no such program needs
_HINT = "Tune the model again to make a new one."
_BLOCK, _TAR_BLOCK = 1 << 20, 512  # bytes


@dataclass(frozen=True)
class Part:
    """A member of a bundle: ``size`` bytes of a file from ``offset`` on, or ``content``."""

    name: str
    size: int
    sha256: str
    file: Path = Path()
    offset: int = 0
    content: bytes | None = None

    def blocks(self) -> Iterator[bytes]:
        """Its bytes. Raises ArtifactMissing when the file ends before."""
        if self.content is not None:
            yield self.content
            return
        with self.file.open("rb") as source:
            source.seek(self.offset)
            left = self.size
            while left:
                if not (block := source.read(min(left, _BLOCK))):
                    raise ArtifactMissing(
                        f"{self.file} ends amid {self.name}.", "Tune the model again to make a new one."
                    )
                left -= len(block)
                yield block


@dataclass(frozen=True)
class Bundle:
    """A tar that is made while it is read, of the same bytes each time."""

    parts: list[Part]

    @property
    def tag(self) -> str:
        """What tells it from any other."""
        return self.parts[0].sha256

    @property
    def size_bytes(self) -> int:
        return sum(_TAR_BLOCK + part.size + -part.size % _TAR_BLOCK for part in self.parts) + 2 * _TAR_BLOCK

    def blocks(self) -> Iterator[bytes]:
        """The tar's bytes."""
        for part in self.parts:
            header = tarfile.TarInfo(part.name)
            header.size, header.mode = part.size, 0o644
            yield header.tobuf(tarfile.USTAR_FORMAT)
            yield from part.blocks()
            yield bytes(-part.size % _TAR_BLOCK)
        yield bytes(2 * _TAR_BLOCK)


def refusal(manifest: Mapping[str, Any]) -> str:
    """Why there is no bundle of an artifact on this machine, whose TVM would be its runtime; empty when there is."""
    target = manifest.get("target") or {}
    if target.get("kind") != "llvm":
        return f"A bundle runs on a CPU, this artifact is compiled for {target.get('kind', 'an unknown device')}."
    here, there = (f"{triples.system(one)} on {triples.architecture(one)}" for one in ({}, target))
    if triples.system(target) != "linux":
        return f"A bundle is for Linux, this artifact is compiled for {there}."
    if here != there:
        return f"A bundle needs TVM's runtime for {there}; the service has the one for {here}."
    if manifest.get("blas"):
        return f"A bundle brings all it needs, and this artifact computes with {manifest['blas']}."
    built, installed = str((manifest.get("versions") or {}).get("tvm")), metadata.version("apache-tvm")
    if built.split(".")[:2] != installed.split(".")[:2]:
        return f"A bundle needs TVM {built} as its runtime; the service has {installed}."
    return ""


def bundle_of(tar: Path, manifest: Mapping[str, Any]) -> Bundle:
    """The bundle of an artifact. Raises InvalidInput when it has none, ArtifactMissing when the tar can't be read."""
    if reason := refusal(manifest):
        raise InvalidInput(reason, "Ask a service on a machine of that kind, or download the tar and run it with TVM.")
    library = manifest["library"]
    parts = [
        Part(f"lib/{one.name}" if one.name == library else one.name, one.size, one.sha256, tar, one.offset, one.content)
        for one in _members(tar, manifest)
    ]
    parts += [_text("README.md", _readme(manifest)), _text("example.cc", _example(manifest))]
    parts += [_file(path.relative_to(_NATIVE).as_posix(), path) for path in _below(_NATIVE, ("include", "src"))]
    parts += _of_tvm()
    sums = "".join(f"{part.sha256}  {part.name}\n" for part in parts)
    return Bundle([_text(SUMS, sums), *parts])


def is_intact(bundle: Path, manifest: Mapping[str, Any]) -> bool:
    """Is this file a whole bundle of the artifact with that manifest?"""
    wanted = {f"lib/{name}" if name == manifest["library"] else name: one for name, one in manifest["files"].items()}
    try:
        with tarfile.open(bundle, "r:") as archive:
            found = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
            hashes = {name: sha256_in(file) for name, file in found.items() if file}
            sums = archive.extractfile(SUMS)
            told = [line.split("  ", 1) for line in sums.read().decode().splitlines()] if sums else []
    except (KeyError, tarfile.TarError, OSError, UnicodeDecodeError):
        return False
    listed = {name: sha256 for sha256, name in told}
    own = all(wanted[name] == sha256 for name, sha256 in listed.items() if name in wanted)
    return own and "params.safetensors" in listed and {n: h for n, h in hashes.items() if n != SUMS} == listed


def _members(tar: Path, manifest: Mapping[str, Any]) -> Iterator[Part]:
    """What a program needs of the artifact."""
    try:
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                if member.name == "manifest.json" and (file := archive.extractfile(member)):
                    yield _text(member.name, file.read().decode())
                elif not member.name.endswith(_OF_PYTHON):
                    yield Part(member.name, member.size, manifest["files"][member.name], tar, member.offset_data)
    except (KeyError, tarfile.TarError, OSError) as error:
        raise ArtifactMissing(
            f"{tar.name} can't be read: {error}.", "Tune the model again to make a new one."
        ) from error


def _of_tvm() -> list[Part]:
    """TVM's runtime, its headers and its licences, as they are installed here."""
    parts = []
    for name, libraries in _RUNTIME.items():
        package = metadata.distribution(name)
        parts += [_file(f"lib/{Path(one).name}", Path(str(package.locate_file(one)))) for one in libraries]
        licences = [
            one for one in package.files or () if one.parts[0].endswith(".dist-info") and "licenses" in one.parts
        ]
        parts += [_file(f"licenses/{name}/{one.name}", Path(str(one.locate()))) for one in sorted(licences)]
    include = Path(str(metadata.distribution("apache-tvm-ffi").locate_file(_HEADERS)))
    return parts + [_file(f"include/{path.relative_to(include)}", path) for path in _below(include, _HEADER_FOLDERS)]


def _below(folder: Path, names: tuple[str, ...]) -> list[Path]:
    return sorted(path for name in names for path in (folder / name).rglob("*") if path.suffix in (".h", ".cc"))


def _file(name: str, path: Path) -> Part:
    return Part(name, path.stat().st_size, sha256_of(path), path)


def _text(name: str, text: str) -> Part:
    content = text.encode()
    return Part(name, len(content), hashlib.sha256(content).hexdigest(), content=content)


def _kind(manifest: Mapping[str, Any]) -> str:
    if manifest.get("texts"):
        return "texts"
    names = {(spec["name"], spec["dtype"]) for spec in manifest["inputs"]}
    return "padded" if ("input_ids", "int32") in names else "arrays"


def _example(manifest: Mapping[str, Any]) -> str:
    return (_NATIVE / "examples" / f"{_kind(manifest)}.cc").read_text()


def _readme(manifest: Mapping[str, Any]) -> str:
    def told(key: str) -> str:
        return ", ".join(f"`{one['name']}` {one['dtype']} {one['shape']}" for one in manifest[key])

    return (
        (_NATIVE / "README.md")
        .read_text()
        .format(
            title=_title(str((manifest.get("model") or {}).get("name", "A model"))),
            machine=triples.architecture(manifest["target"]),
            run="./example" if _kind(manifest) == "arrays" else "./example 101 7592 102",
            threads=manifest.get("threads", "as many as there are cores"),
            inputs=told("inputs"),
            outputs=told("outputs"),
        )
    )


def _title(name: str) -> str:
    """A model's name; of a folder on the service's machine, which is nowhere else, what it is called."""
    return Path(name).name if name.startswith(("/", ".", "~")) else name
