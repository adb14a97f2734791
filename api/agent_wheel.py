"""The wheel that makes another machine a device: this service's code, and what ``tunesmith agent`` needs.

It is made of the code as it lies here, in a checkout or installed, by the wheel format's own rules
(packaging.python.org/specifications/binary-distribution-format): no build tool has to be there, and the same code gives
the same bytes. A part of its version is the code's digest, so that pip puts it where another one was.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from rpc.drafts import draft
from tuner.apart import Limits, answered
from tuner.errors import TunerError

PROJECT = "tunesmith"
PACKAGES = ("rpc", "tuner", "tunesmith")  # what a device and a client of the service run
_HERE = Path(__file__).resolve().parent.parent
_EXTRA = re.compile(r"""(.+?)\s*;\s*extra\s*==\s*['"]agent['"]""")
_LIMITS = Limits(seconds=60.0, memory_bytes=2**30)
_TAG = "py3-none-any"


@dataclass(frozen=True)
class Wheel:
    """A wheel as pip is told of it: the file's name, and the SHA-256 of what is in it."""

    name: str
    sha256: str


def make_apart(folder: Path) -> Wheel:
    """As ``make``, in a process of its own: this one goes on answering meanwhile. Raises TunerError."""
    return Wheel(**answered("api.agent_wheel_worker", folder, _LIMITS, _blamed))


def make(folder: Path, code: Path = _HERE) -> dict[str, str]:
    """Write the wheel of the packages in ``code`` into ``folder``, instead of the one that is there.

    Gives the fields of ``Wheel``. Raises TunerError where the installation does not say what the agent needs.
    """
    about = metadata.metadata(PROJECT)
    needs = agents_needs(about.get_all("Requires-Dist") or [])
    if not needs:
        raise TunerError("This installation does not say what the agent needs.", "Install TuneSmith anew.")
    content = {path: (code / path).read_bytes() for path in sources(code)}
    version = f"{about['Version'].partition('+')[0]}+agent.g{_digest(content, needs)}"
    described = content | _dist_info(f"{PROJECT}-{version}.dist-info", version, about["Requires-Python"], needs)
    name = f"{PROJECT}-{version}-{_TAG}.whl"
    with draft(folder, "wheel-") as unfinished:
        _write(unfinished / name, described)
        sha256 = hashlib.sha256((unfinished / name).read_bytes()).hexdigest()
        (unfinished / name).replace(folder / name)
    for old in folder.glob("*.whl"):
        if old.name != name:
            old.unlink(missing_ok=True)
    return {"name": name, "sha256": sha256}


def agents_needs(requirements: Sequence[str]) -> list[str]:
    """Of what a distribution requires, what its extra ``agent`` names."""
    return [match[1] for line in requirements if (match := _EXTRA.fullmatch(line.strip()))]


def sources(code: Path) -> list[str]:
    """Paths below ``code`` of the files of the packages, sorted: not what Python or an installation put there.

    Migrations and shipped logs lie in ``_`` folders of an installed package, and a device needs neither.
    """
    found = (path.relative_to(code) for package in PACKAGES for path in (code / package).rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if not any(part[0] in "._" for part in path.parts[:-1]))


def _digest(content: Mapping[str, bytes], needs: Sequence[str]) -> str:
    """Eight digits that differ with the code; pip would take zeros in front from a part of digits alone."""
    digest = hashlib.sha256(repr(needs).encode())
    for path, data in content.items():
        digest.update(f"\0{path}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:8]


def _dist_info(folder: str, version: str, python: str, needs: Sequence[str]) -> dict[str, bytes]:
    about = ["Metadata-Version: 2.1", f"Name: {PROJECT}", f"Version: {version}", f"Requires-Python: {python}"]
    about += [f"Requires-Dist: {need}" for need in needs]
    wheel = ["Wheel-Version: 1.0", f"Generator: {PROJECT}", "Root-Is-Purelib: true", f"Tag: {_TAG}"]
    scripts = ["[console_scripts]", f"{PROJECT} = tuner.cli.main:main"]
    files = {"METADATA": about, "WHEEL": wheel, "entry_points.txt": scripts}
    licence = metadata.distribution(PROJECT).read_text("licenses/LICENSE")
    texts = {"licenses/LICENSE": licence} if licence else {}
    texts |= {name: "\n".join(lines) + "\n" for name, lines in files.items()}
    return {f"{folder}/{name}": text.encode() for name, text in texts.items()}


def _write(path: Path, content: Mapping[str, bytes]) -> None:
    record = next(name for name in content if name.endswith(".dist-info/WHEEL")).replace("WHEEL", "RECORD")
    lines = [*(_recorded(name, data) for name, data in content.items()), f"{record},,"]
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, data in {**content, record: "\n".join([*lines, ""]).encode()}.items():
            member = ZipInfo(name)  # of 1980: the time of the build is nobody's business
            member.compress_type = ZIP_DEFLATED
            member.external_attr = 0o100644 << 16
            archive.writestr(member, data)


def _recorded(name: str, data: bytes) -> str:
    digest = urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}"


def _blamed(end: str) -> TunerError:
    return TunerError(f"The agent's wheel could not be made: {end}.", "See the web log.")
