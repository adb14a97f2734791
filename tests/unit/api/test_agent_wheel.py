"""The wheel is the code, whatever lies beside it, and says by its name which code."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.agent_wheel import PACKAGES, agents_needs, make, sources


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """An installation of three packages, used and with what only the service needs."""
    root = tmp_path / "code"
    for package in PACKAGES:
        put(root / package / "__init__.py")
    put(root / "rpc/__pycache__/agent.pyc")
    put(root / "tuner/_tuning_logs/log.jsonl")
    put(root / "tuner/data/words.txt")
    put(root / "api/app.py")
    return root


def put(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_only_code_of_the_packages_goes_in(code: Path) -> None:
    assert sources(code) == ["rpc/__init__.py", "tuner/__init__.py", "tuner/data/words.txt", "tunesmith/__init__.py"]


def test_the_same_code_gives_the_same_bytes(code: Path, tmp_path: Path) -> None:
    first = make(tmp_path / "a", code)
    assert make(tmp_path / "b", code) == first
    assert [path.name for path in (tmp_path / "a").iterdir()] == [first["name"]]


def test_other_code_is_another_version_in_place_of_the_first(code: Path, tmp_path: Path) -> None:
    first = make(tmp_path / "a", code)
    put(code / "rpc/__init__.py", "CHANGED = True\n")
    second = make(tmp_path / "a", code)
    assert second["name"] != first["name"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == [second["name"]]


def test_the_agent_needs_what_its_extra_names_and_no_more() -> None:
    required = ["torch==2.13.0", "numpy>=2.1; extra == 'agent'", 'typer>=0.15 ; extra == "agent"', "x; extra == 'dev'"]
    assert agents_needs(required) == ["numpy>=2.1", "typer>=0.15"]
