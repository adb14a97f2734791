"""A folder is named by its path where the service sees it, and sent where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support.line import Line, client_over
from tests.support.rest import talking_to
from tests.support.uploading import MODEL
from tuner.cli import sending
from tuner.cli.sending import seen_there
from tuner.client.http import Client
from tuner.config import Settings


@pytest.fixture
def line(settings: Settings, engine: Engine) -> Iterator[Line]:
    with talking_to(settings) as service:
        yield Line(service)


@pytest.fixture
def client(line: Line, settings: Settings) -> Iterator[Client]:
    with client_over(line, settings) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder in the present one."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "bert"
    place.mkdir()
    for name, content in {**MODEL, "README.md": b"hello"}.items():
        (place / name).write_bytes(content)
    return place


def test_what_is_no_path_is_sent_as_it_is_and_nobody_is_asked(client: Client, line: Line, folder: Path) -> None:
    for name in ("bert", "minilm-l6", "org/model@main", "op:gemm:1,2,3", "upload:mine", "./none", "none.onnx"):
        assert seen_there(client, name, allow_pickle=False) == name
    assert line.requests == []


def test_a_folder_that_the_service_sees_goes_by_its_path(client: Client, line: Line, folder: Path) -> None:
    assert seen_there(client, "./bert", allow_pickle=False) == str(folder)
    assert line.requests == ["GET"]


def test_a_folder_that_it_can_not_see_is_sent_once(
    client: Client, line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sending, "whereabouts", lambda: "another machine")
    model = seen_there(client, "./bert", allow_pickle=False)
    assert model.startswith("upload:bert-")
    said = capsys.readouterr().err
    assert "left out: README.md" in said
    assert f"the service has it as {model}" in said
    line.requests.clear()
    assert seen_there(client, str(folder), allow_pickle=False) == model
    assert line.requests == ["GET", "POST"]


def test_the_file_of_a_graph_is_sent_too(client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "whereabouts", lambda: "another machine")
    (folder.parent / "mine.onnx").write_bytes(b"a graph")
    assert seen_there(client, "mine.onnx", allow_pickle=False).startswith("upload:mine-")
