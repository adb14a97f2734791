"""A 64-bit ARM machine for tests: Debian's Python and TVM's own wheel, run by QEMU, as a device of a tracker.

Nothing is installed: packages are downloaded and unpacked below the user's cache folder, once.
``python -m tests.support.arm64`` does that and says what came of it.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT, running, wait_until
from tests.support.rpc_device import HOST, free

_QEMU = "qemu-aarch64-static"
_PYTHON = "3.11"  # of the Debian release that has these packages
_DEBIAN = (
    f"python{_PYTHON}-minimal libpython{_PYTHON}-minimal libpython{_PYTHON}-stdlib libc6 libgcc-s1 libstdc++6 "
    "libopenblas0-pthread libgfortran5 libexpat1 zlib1g libssl3 libffi8 libbz2-1.0 liblzma5 libcrypt1 libuuid1"
).split()
_OPENBLAS = "usr/lib/aarch64-linux-gnu/openblas-pthread"  # where Debian puts it, for its alternatives to choose
_WHEELS = ("apache-tvm", "apache-tvm-ffi", "numpy", "psutil")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux2014_aarch64")
_DOWNLOAD_SEC = 600.0
_START_SEC = 120.0  # TVM's import alone takes ten under emulation


class NotToBeHad(Exception):
    """The machine can't be brought up here; the text says why."""


@dataclass(frozen=True)
class Machine:
    """Where its parts lie."""

    qemu: Path
    root: Path
    packages: Path

    def python(self, *args: str, **env: str) -> list[str]:
        """Command line that runs its Python, with this checkout on the path; ``env`` is for the emulated process."""
        env = {"PYTHONPATH": f"{self.packages}:{ROOT}", "LD_LIBRARY_PATH": f"/{_OPENBLAS}", **env}
        given = [word for name, value in env.items() for word in ("-E", f"{name}={value}")]
        return [str(self.qemu), "-L", str(self.root), *given, str(self.root / "usr/bin" / f"python{_PYTHON}"), *args]


def machine() -> Machine:
    """The machine, downloaded first if it must be.

    Raises NotToBeHad with the reason.
    """
    if sys.platform != "linux" or shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotToBeHad("needs a Debian, for its packages of another architecture")
    folder = _cache_dir() / f"{_PYTHON}-{_constraints_of_tvm()}-blas"
    found = Machine(folder / "host/usr/bin" / _QEMU, folder / "root", folder / "packages")
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
            _fetch(Path(draft))
            os.rename(_whole(Path(draft)), folder)
    return found


@contextmanager
def device(port: int, key: str, threads: int = 2) -> Iterator[None]:
    """The machine as a free device of the tracker at this port."""
    agent = ("-m", "rpc.agent", "--tracker", f"{HOST}:{port}", "--key", key, "--threads", str(threads))
    with running(machine().python(*agent)):
        wait_until(lambda: free(port, key), _START_SEC, "the emulated device's registration")
        yield


def _cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tunesmith-tests" / "arm64"


def _constraints_of_tvm() -> str:
    from rpc.versions import PINS

    return "-".join(PINS.values())


def _fetch(draft: Path) -> None:
    whole = _whole(draft)
    _unpack(draft, "arm64", _DEBIAN, whole / "root")
    _unpack(draft, _host_architecture(), ("qemu-user-static",), whole / "host")
    for emulator in (whole / "host/usr/bin").iterdir():
        if emulator.name != _QEMU:
            emulator.unlink()  # of all the other architectures, 300 MB
    platforms = [word for name in _PLATFORMS for word in ("--platform", name)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    only = ["--only-binary", ":all:", "--python-version", _PYTHON, "--constraint", str(ROOT / "constraints.txt")]
    _run([*pip, *only, *platforms, "--target", str(whole / "packages"), *_WHEELS], draft)


def _whole(draft: Path) -> Path:
    return draft / "whole"


def _unpack(draft: Path, architecture: str, packages: Sequence[str], into: Path) -> None:
    """Download Debian packages of an architecture that this machine need not know, and unpack them."""
    into.mkdir(parents=True)
    state = draft / f"apt-{architecture}"
    for part in ("state/lists/partial", "cache/archives/partial", "packages"):
        (state / part).mkdir(parents=True)
    options = {
        "Dir::State": state / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": state / "cache",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
    }
    apt = ["apt-get", "--quiet", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    _run([*apt, "update"], state)
    _run([*apt, "download", *packages], state / "packages")
    for package in sorted((state / "packages").glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(package), str(into)], state)


def _host_architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_DOWNLOAD_SEC)
    except subprocess.TimeoutExpired:
        raise NotToBeHad(f"{command[0]} took more than {_DOWNLOAD_SEC:g} s") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise NotToBeHad(f"{command[0]} failed: {''.join(last)}")


if __name__ == "__main__":
    try:
        print(f"the emulated machine lies in {machine().root.parent}")
    except NotToBeHad as reason:
        sys.exit(f"no emulated machine: {reason}")
