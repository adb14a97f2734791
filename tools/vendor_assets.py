"""Fetch the browser libraries named in api/static/vendor/manifest.json from npm and check them against it.

python tools/vendor_assets.py            fetch again; refuse anything whose sha256 is not the one on record
python tools/vendor_assets.py --record   after a version in the manifest was changed: record the new sha256s
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).resolve().parent.parent / "api" / "static" / "vendor"
MANIFEST = VENDOR / "manifest.json"


def pack(package: str, version: str, folder: Path) -> Path:
    """Download one npm package at a pinned version; returns its tar."""
    command = ["npm", "pack", "--silent", f"{package}@{version}", "--pack-destination", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return folder / done.stdout.strip().splitlines()[-1]


def refresh(entry: dict[str, Any], record: bool, folder: Path) -> list[str]:
    """Write one package's files below VENDOR; returns what does not match the manifest."""
    problems: list[str] = []
    with tarfile.open(pack(entry["package"], entry["version"], folder)) as tar:
        for file in entry["files"]:
            member = tar.extractfile(f"package/{file['from']}")
            if member is None:
                raise FileNotFoundError(f"{entry['package']} {entry['version']} has no {file['from']}")
            content = member.read()
            digest = hashlib.sha256(content).hexdigest()
            if record:
                file["sha256"] = digest
            elif digest != file["sha256"]:
                problems.append(f"{file['to']}: sha256 is {digest}, the manifest says {file['sha256']}")
                continue
            target = VENDOR / file["to"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return problems


def main() -> int:
    """Refresh every package; exit status 1 when one differs from the record."""
    parser = argparse.ArgumentParser(description="Refresh the vendored browser libraries from npm.")
    parser.add_argument("--record", action="store_true", help="write the sha256s of what was fetched into the manifest")
    record = parser.parse_args().record
    manifest = json.loads(MANIFEST.read_text())
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for entry in manifest["packages"]:
            print(f"{entry['package']} {entry['version']}")
            problems += refresh(entry, record, Path(folder))
    if record:
        MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
