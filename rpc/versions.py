"""The versions this release is made for, checked without importing them: a wrong one crashes."""

from __future__ import annotations

from importlib import metadata

from rpc.errors import WrongVersion

PINS = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post1"}


def installed_versions() -> dict[str, str | None]:
    """Version of each pinned package; None where it is missing."""
    return {name: _installed(name) for name in PINS}


def check_versions() -> None:
    """Compare what is installed with the pins.

    Raises:
        WrongVersion: a pinned package is missing or has another version; the hint is the pip command that mends it.
    """
    wrong = {name: have for name, have in installed_versions().items() if have != PINS[name]}
    if not wrong:
        return
    found = ", ".join(f"{name} is {have or 'not installed'}, must be {PINS[name]}" for name, have in wrong.items())
    command = "pip install " + " ".join(f"{name}=={pin}" for name, pin in PINS.items())
    raise WrongVersion(f"{found}: other versions crash while tuning.", hint=command)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
