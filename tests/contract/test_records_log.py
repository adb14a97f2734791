"""The record log: what is exported can be imported, and damage costs only the damaged lines."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support import databases
from tests.support.rows import make_record, make_workload
from tuner.config import Settings
from tuner.db import log, records
from tuner.db.engine import make_engine, read, write
from tuner.errors import UploadInvalid

pytestmark = pytest.mark.both_databases


@pytest.fixture
def lines(engine: Engine) -> list[str]:
    """Four exported lines: two workloads, two good records each (a failed one is left out)."""
    with write(engine) as session:
        for number in (1, 2):
            records.put_workload(session, make_workload(number))
            for candidate, mean_sec in (("slow", 2e-3), ("fast", 1e-3), ("bad", None)):
                records.add(session, make_record(candidate, mean_sec, number, job_id="job-x", canary_ratio=1.01))
    with read(engine) as session:
        return list(log.export_lines(session))


@pytest.fixture
def other(tmp_path: Path) -> Engine:
    """Another, empty database."""
    settings = Settings(data_dir=tmp_path / "other")
    databases.create(settings)
    return make_engine(settings)


def _import(other: Engine, content: bytes) -> tuple[int, int, int, list[str]]:
    out = log.import_file(other, io.BytesIO(content))
    return out.imported, out.duplicates, out.skipped, out.errors


def test_a_line_is_json_with_its_workload_and_record(lines: list[str]) -> None:
    first, second, third, fourth = (json.loads(line) for line in lines)
    assert first["v"] == 1
    assert [line["record"]["candidate"] for line in (first, second, third, fourth)] == ["fast", "slow"] * 2
    assert first["record"]["trace"] == [[[], []], [0.5], {"kind": "llvm"}, None]
    assert ["tir" in line["workload"] for line in (first, second, third, fourth)] == [True, False, True, False]


def test_failed_records_are_exported_when_asked_for(engine: Engine, lines: list[str]) -> None:
    with read(engine) as session:
        everything = list(log.export_lines(session, failed=True))
    assert (len(lines), len(everything)) == (4, 6)
    assert json.loads(everything[2])["record"]["error_class"] == "build"


def test_what_was_exported_comes_back_the_same(other: Engine, lines: list[str]) -> None:
    assert _import(other, "".join(lines).encode()) == (4, 0, 0, [])
    with read(other) as session:
        assert list(log.export_lines(session)) == lines
        assert {record.source for record in records.find(session).rows} == {"imported"}
        assert {record.job_id for record in records.find(session).rows} == {None}


def test_a_second_import_counts_duplicates(other: Engine, lines: list[str]) -> None:
    _import(other, "".join(lines).encode())
    assert _import(other, "".join(lines).encode()) == (0, 4, 0, [])


def test_a_gzipped_log_is_read_as_it_is(other: Engine, lines: list[str]) -> None:
    assert _import(other, gzip.compress("".join(lines).encode())) == (4, 0, 0, [])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda line: line[:60], "not a JSON record"),
        (lambda line: "\x00\xff garbage", "not a JSON record"),
        (lambda line: '{"v": 1}', "workload"),
        (lambda line: line.replace('"v":1', '"v":2'), "v:"),
        (lambda line: line.replace('"mean_sec":0.001', '"mean_sec":null'), "mean_sec or an error_class"),
        (lambda line: line.replace('"mean_sec":0.001', '"mean_sec":-1'), "record.mean_sec"),
        (lambda line: line.replace('"candidate":"fast"', '"candidate":""'), "record.candidate"),
    ],
)
def test_a_damaged_line_is_skipped_with_its_number_and_reason(
    other: Engine, lines: list[str], damage: object, reason: str
) -> None:
    damaged = [damage(lines[0]).rstrip("\n") + "\n", "\n", *lines[1:]]  # type: ignore[operator]
    imported, duplicates, skipped, errors = _import(other, "".join(damaged).encode("latin-1"))
    assert (imported, duplicates, skipped) == (3, 0, 1)
    assert errors[0].startswith("line 1: ")
    assert reason in errors[0]


def test_a_workload_whose_first_line_was_damaged_is_completed_by_a_later_import(
    other: Engine, lines: list[str]
) -> None:
    _import(other, "".join(lines[1:]).encode())
    assert _import(other, lines[0].encode()) == (1, 0, 0, [])
    with read(other) as session:
        assert list(log.export_lines(session)) == lines


def test_a_log_cut_in_a_line_keeps_the_lines_before(other: Engine, lines: list[str]) -> None:
    imported, _, skipped, errors = _import(other, "".join(lines)[:-40].encode())
    assert (imported, skipped) == (3, 1)
    assert errors[0].startswith("line 4: ")


def test_a_gzip_cut_short_keeps_the_lines_before(other: Engine, lines: list[str]) -> None:
    many = [line.replace('"fast"', f'"fast{number}"') for number in range(300) for line in lines]
    imported, _, skipped, errors = _import(other, gzip.compress("".join(many).encode())[:-500])
    assert imported > 0
    assert skipped >= 1
    assert "gzip" in errors[-1]


def test_damage_in_many_chunks_keeps_right_line_numbers(
    other: Engine, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_CHUNK_LINES", 2)
    _, _, skipped, errors = _import(other, "".join([*lines[:3], "oops\n", lines[3], "oops\n"]).encode())
    assert skipped == 2
    assert [error.split(":")[0] for error in errors] == ["line 4", "line 6"]


def test_a_line_over_the_limit_is_skipped(other: Engine, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_LINE_BYTES", 2000)
    imported, _, skipped, _ = _import(other, ("x" * 5000 + "\n" + "".join(lines)).encode())
    assert (imported, skipped) == (4, 3)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"<html></html>\n", b"PK\x03\x04rest", b"\x1f\x8bnot really gzip"])
def test_a_file_without_a_single_record_is_refused(other: Engine, content: bytes) -> None:
    with pytest.raises(UploadInvalid, match=r"can't be used|zip archive") as caught:
        log.import_file(other, io.BytesIO(content))
    assert "tunesmith records export" in caught.value.hint
