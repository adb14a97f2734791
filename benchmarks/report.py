"""What every benchmark says beside its numbers, and where it writes them."""

from __future__ import annotations

import json
import os
import shlex
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from rpc.facts import physical_cores

OUT = Path(__file__).parent / "out"
_PACKAGES = (
    *("tunesmith", "apache-tvm", "apache-tvm-ffi", "torch", "transformers", "numpy"),
    *("onnxruntime", "openvino", "xgboost"),
)
BUSY_LOAD = 0.5  # waiting processes from which another's work shows in timings


def circumstances(machine: str) -> dict[str, Any]:
    """Machine, date, command, versions, and how busy the machine was before (``load_1min``, processes)."""
    return {
        "machine": machine,
        "cores": physical_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", _module(), *sys.argv[1:]]),
        "load_1min": round(os.getloadavg()[0], 2),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def save(name: str, body: dict[str, Any] | list[dict[str, Any]]) -> Path:
    """Write ``benchmarks/out/<name>.json`` in one step; returns its path."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(body, indent=2) + "\n")
    os.replace(draft, path)
    return path


def footer(facts: dict[str, Any]) -> str:
    """One line for below a table."""
    busy = f", busy: load {facts['load_1min']:g}, expect noise" if facts["load_1min"] > BUSY_LOAD else ""
    return f"{facts['machine']}, {facts['cores']} cores, {facts['date'][:10]}{busy} · {facts['command']}"


def shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _module() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else Path(sys.argv[0]).name


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
