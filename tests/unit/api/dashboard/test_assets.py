"""What the page loads is in the package, as recorded, and from nowhere else."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest

from api.dashboard.rendering import STATIC

VENDOR = STATIC / "vendor"
PACKAGES: list[dict[str, Any]] = json.loads((VENDOR / "manifest.json").read_text())["packages"]
OWN = [path for folder in ("css", "js") for path in sorted((STATIC / folder).iterdir())]
TEMPLATES = sorted((STATIC.parent / "dashboard" / "templates").iterdir())


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p["package"])
def test_vendored_files_are_the_recorded_ones(package: dict[str, Any]) -> None:
    for file in package["files"]:
        assert hashlib.sha256((VENDOR / file["to"]).read_bytes()).hexdigest() == file["sha256"], file["to"]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p["package"])
def test_vendored_packages_bring_their_licence_and_are_listed(package: dict[str, Any]) -> None:
    assert any(file["to"].endswith("/LICENSE") for file in package["files"])
    assert (
        f"| `{package['package']}` | {package['version']} | {package['licence']}" in (VENDOR / "README.md").read_text()
    )


def test_nothing_is_vendored_without_a_record() -> None:
    recorded = {file["to"] for package in PACKAGES for file in package["files"]} | {"manifest.json", "README.md"}
    assert {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()} == recorded


@pytest.mark.parametrize("path", OWN + TEMPLATES, ids=lambda p: p.name)
def test_own_pages_scripts_and_styles_load_nothing_from_elsewhere(path: Any) -> None:
    assert not re.search(r"""(src|href|url\(|import)\s*[=(]?\s*["']?(https?:)?//""", path.read_text())


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.name)
def test_templates_hold_no_inline_script_or_style(path: Any) -> None:
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", path.read_text())
