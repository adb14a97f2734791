"""The data directory's own token: made once, for its owner's eyes, and never half."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tuner.config import Settings
from tuner.errors import InvalidInput
from tuner.schemas import SCOPES
from tuner.tokens import allows, check_doors, digest, known_token, new_token, own_token


def test_each_scope_includes_those_before_it() -> None:
    table = {has: [needed for needed in SCOPES if allows(has, needed)] for has in SCOPES}
    assert table == {"read": ["read"], "submit": ["read", "submit"], "admin": ["read", "submit", "admin"]}


def test_the_own_token_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    assert known_token(path) is None
    token = own_token(path)
    assert [own_token(path), known_token(path), path.read_text()] == [token, token, f"{token}\n"]
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert own_token(path) == token
    assert path.stat().st_mode & 0o777 == 0o600


def test_tokens_are_long_and_never_the_same() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == len({digest(token) for token in made}) == 100
    assert min(map(len, made)) > 40


def test_of_many_that_start_at_once_one_makes_the_token(tmp_path: Path) -> None:
    found: list[str] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        found.append(own_token(tmp_path / "token"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == {own_token(tmp_path / "token")}
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


@pytest.mark.parametrize("content", ["", "\n", "short", "two words that are long enough", "ä" * 30, "x" * 20 + "\0"])
def test_a_file_that_holds_no_token_lets_nobody_in(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    with pytest.raises(InvalidInput, match="holds no token") as caught:
        own_token(path)
    assert str(path) in caught.value.message
    assert known_token(path) is None


def test_a_token_of_ones_own_choice_is_taken(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("correct-horse-battery-staple\n")
    assert own_token(tmp_path / "token") == "correct-horse-battery-staple"


@pytest.mark.parametrize(
    ("auth", "host", "refused"),
    [
        ("token", "0.0.0.0", False),
        ("none", "127.0.0.1", False),
        ("none", "::1", False),
        ("none", "localhost", False),
        ("none", "0.0.0.0", True),
        ("none", "lab.example", True),
    ],
)
def test_nobody_is_asked_on_loopback_only(auth: str, host: str, refused: bool) -> None:
    settings = Settings.model_validate({"auth": auth, "host": host})
    if not refused:
        return check_doors(settings)
    with pytest.raises(InvalidInput, match="TUNER_AUTH=none") as caught:
        check_doors(settings)
    assert host in caught.value.message
