"""A folder goes to a service through breaks, and nothing goes twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from tests.support.line import Line, client_over
from tests.support.rest import talking_to
from tests.support.uploading import MODEL
from tuner.client import upload as module
from tuner.client.http import Client
from tuner.client.upload import outgoing, send
from tuner.config import Settings
from tuner.errors import InvalidInput, ServiceUnreachable, UploadInvalid
from tuner.schemas import UploadOut


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder as published, with a readme."""
    place = tmp_path / "my bert"
    place.mkdir()
    for name, content in {**MODEL, "README.md": b"hello", "pytorch_model.bin": b"pickle"}.items():
        (place / name).write_bytes(content)
    return place


@pytest.fixture
def line(settings: Settings, engine: Engine) -> Iterator[Line]:
    with talking_to(settings) as service:
        yield Line(service)


@pytest.fixture
def client(settings: Settings, line: Line) -> Iterator[Client]:
    with client_over(line, settings) as client:
        yield client


class Clock:
    """Time that passes in sleeps alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def sent(client: Client, place: Path, told: list[tuple[str, int, int]] | None = None) -> UploadOut:
    clock = Clock()
    told = [] if told is None else told
    return send(client, place, outgoing(place, False), lambda *step: told.append(step), clock.sleep, clock)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 64)


def test_a_folder_is_sent_with_its_progress_told(client: Client, folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    upload = sent(client, folder, told)
    assert upload.state == "complete"
    assert {file.path for file in upload.files} == set(MODEL)
    assert upload.name.startswith("my-bert-")
    total = sum(map(len, MODEL.values()))
    sending = [done for step, done, of in told if step == "sending" and of == total]
    assert sending == sorted(sending)
    assert sending[-1] == total
    assert told[-1][0] == "checking"


def test_what_the_service_has_is_not_sent_again(client: Client, line: Line, folder: Path) -> None:
    first = sent(client, folder)
    line.requests.clear()
    assert sent(client, folder).id == first.id
    assert line.requests == ["POST"]
    (folder / "config.json").write_bytes(MODEL["config.json"] + b"\n")
    assert sent(client, folder).name != first.name


def test_a_break_anywhere_is_gone_on_from(client: Client, line: Line, folder: Path) -> None:
    for where in ("before", "after"):
        for number in (1, 2, 4, 6):
            for name, content in MODEL.items():
                if name != "config.json":
                    (folder / name).write_bytes(content + f"{where} {number}".encode())
            line.requests.clear()
            line.breaks = lambda count, _request, at=number, how=where: how if count == at else ""  # type: ignore[misc]
            assert sent(client, folder).state == "complete", (where, number)


def test_a_service_that_stays_away_ends_it_and_the_next_try_goes_on(client: Client, line: Line, folder: Path) -> None:
    line.breaks = lambda count, _request: "before" if count > 3 else ""
    with pytest.raises(ServiceUnreachable, match="broke off") as error:
        sent(client, folder)
    assert error.value.hint == "Give the same command again; it goes on from there."
    line.breaks = lambda _count, _request: ""
    told: list[tuple[str, int, int]] = []
    assert sent(client, folder, told).state == "complete"
    assert next(done for step, done, _ in told if step == "sending") > 0


def test_a_file_that_is_written_meanwhile_is_refused_by_the_service(client: Client, line: Line, folder: Path) -> None:
    def write_then_go_on(count: int, _request: httpx.Request) -> str:
        if count == 1:
            (folder / "config.json").write_bytes(bytes(len(MODEL["config.json"])))
        return ""

    line.breaks = write_then_go_on
    with pytest.raises(UploadInvalid, match=r"config\.json is not what was declared"):
        sent(client, folder)


def test_a_folder_without_a_model_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no file of a model"):
        outgoing(tmp_path, allow_pickle=False)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UploadInvalid, match="pickled"):
        outgoing(tmp_path, allow_pickle=False)


def test_the_file_of_a_graph_goes_with_the_weights_beside_it(tmp_path: Path) -> None:
    for name in ("bert.onnx", "bert.onnx_data", "other.onnx", "config.json", "tokenizer.json", "README.md"):
        (tmp_path / name).write_bytes(b"x")
    assert set(outgoing(tmp_path / "bert.onnx", allow_pickle=False).files) == {
        *("bert.onnx", "bert.onnx_data"),
        *("config.json", "tokenizer.json"),
    }
