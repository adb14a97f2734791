"""Resolves the project's dependencies afresh and writes them as a constraints file: ``python tools/lock.py FILE``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

OLDEST = "3.10"  # the oldest Python the package supports; the file must install there as well
HEADER = (
    "# Made by `make lock`; used by `make install`. Exact versions of everything, so that two checkouts are alike.\n"
)


def resolve(project: Path) -> dict[str, Any]:
    """pip's installation report for the project with its extras; installs nothing."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run([*command, f"{project}[bench,dev,llama,postgres]"], check=True, stdout=subprocess.PIPE)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def constraint(metadata: dict[str, Any]) -> str:
    """One line of the file; a release that gave up the oldest Python binds newer ones only."""
    line = f"{metadata['name'].lower()}=={Version(metadata['version']).public}"
    allowed = SpecifierSet(metadata.get("requires_python", ""))
    if not allowed.contains(f"{OLDEST}.99"):
        newest_floor = next(v for v in range(11, 100) if allowed.contains(f"3.{v}.99"))
        line += f' ; python_version >= "3.{newest_floor}"'
    return line


def main() -> None:
    """Writes the file named on the command line."""
    report = resolve(Path(__file__).parent.parent)
    packages = [item["metadata"] for item in report["install"]]
    lines = sorted(constraint(m) for m in packages if m["name"] != "tunesmith")
    Path(sys.argv[1]).write_text(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
