"""The record log: what is exported can be imported, and damage costs only the damaged lines."""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete
from sqlmodel import col

from tests.support import databases
from tests.support.rows import make_record, make_workload
from tuner.config import Settings
from tuner.db import intake, log, records, walk
from tuner.db import lines as line_reader
from tuner.db.engine import make_engine, read, write
from tuner.db.log_line import Entry, entry_of
from tuner.db.models import Record
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
    return list(log.export_lines(engine))


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
    everything = list(log.export_lines(engine, failed=True))
    assert (len(lines), len(everything)) == (4, 6)
    assert json.loads(everything[2])["record"]["error_class"] == "build"


def test_what_was_exported_comes_back_the_same(other: Engine, lines: list[str]) -> None:
    assert _import(other, "".join(lines).encode()) == (4, 0, 0, [])
    assert list(log.export_lines(other)) == lines
    with read(other) as session:
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
        (lambda line: "[" * 50_000, "not a JSON record"),
        (lambda line: line.replace('"v":1', '"v":2'), "v:"),
        (lambda line: line.replace('"mean_sec":0.001', '"mean_sec":null'), "mean_sec or an error_class"),
        (lambda line: line.replace('"mean_sec":0.001', '"mean_sec":-1'), "record.mean_sec"),
        (lambda line: line.replace('"candidate":"fast"', '"candidate":""'), "record.candidate"),
        (lambda line: line.replace('"run_secs":[0.001]', '"run_secs":[]'), "has run_secs"),
        (lambda line: line.replace('"run_secs":[0.001]', '"run_secs":[0.001,NaN]'), "record.run_secs"),
        (lambda line: line.replace('"run_secs":[0.001]', '"run_secs":[1e400]'), "record.run_secs"),
        (lambda line: line.replace('"canary_ratio":1.01', '"canary_ratio":Infinity'), "record.canary_ratio"),
        (lambda line: line.replace('"weight_bytes":0', f'"weight_bytes":{10**30}'), "workload.weight_bytes"),
        (lambda line: line.replace('"flops":1024.0', '"flops":NaN'), "workload.flops"),
        (lambda line: line.replace('"id":"wl-', '"id":"../wl-'), "workload.id"),
        (lambda line: line.replace('"device":""', '"device":"\\u0000"'), "record.device"),
        (lambda line: line.replace('"evaluator":{}', '"evaluator":{"a":NaN}'), "record.evaluator"),
        (lambda line: line.replace('{"kind":"llvm"},null', "1e999,null"), "record.trace"),
        (lambda line: re.sub('"created_at":"[0-9-]*', '"created_at":"9999-12-31', line), "record.created_at"),
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
    assert list(log.export_lines(other)) == lines


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
    monkeypatch.setattr(intake, "_CHUNK_LINES", 2)
    _, _, skipped, errors = _import(other, "".join([*lines[:3], "oops\n", lines[3], "oops\n"]).encode())
    assert skipped == 2
    assert [error.split(":")[0] for error in errors] == ["line 4", "line 6"]


def test_a_line_over_the_limit_is_skipped(other: Engine, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_reader, "MAX_LINE_BYTES", 2000)
    imported, _, skipped, _ = _import(other, ("x" * 5000 + "\n" + "".join(lines)).encode())
    assert (imported, skipped) == (4, 1)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"<html></html>\n", b"PK\x03\x04rest", b"\x1f\x8bnot really gzip"])
def test_a_file_without_a_single_record_is_refused(other: Engine, content: bytes) -> None:
    with pytest.raises(UploadInvalid, match=r"can't be used|zip archive") as caught:
        log.import_file(other, io.BytesIO(content))
    assert "tunesmith records export" in caught.value.hint


def test_a_record_is_as_fast_as_its_times_say(other: Engine, lines: list[str]) -> None:
    lie = lines[0].replace('"mean_sec":0.001', '"mean_sec":1e-12').replace("[0.001]", "[0.001,0.003,0.002]")
    assert _import(other, lie.encode()) == (1, 0, 0, [])
    with read(other) as session:
        assert [record.mean_sec for record in records.find(session).rows] == [0.002]


def test_a_line_that_only_the_database_refuses_costs_no_other(other: Engine, lines: list[str]) -> None:
    def parse(raw: bytes) -> Entry:
        entry = entry_of(raw)
        if entry.record["candidate"] == "slow":
            entry.record["workload_id"] = "wl-none"
        return entry

    out = intake.take_in(other, enumerate(map(str.encode, lines), 1), parse, "imported")
    assert (out.imported, out.skipped) == (2, 2)
    assert [error.split(":")[0] for error in out.errors] == ["line 2", "line 4"]
    with read(other) as session:
        assert {record.candidate for record in records.find(session).rows} == {"fast"}


def test_a_candidate_twice_in_one_log_is_known_the_second_time(other: Engine, lines: list[str]) -> None:
    assert _import(other, (lines[0] + lines[0]).encode()) == (1, 1, 0, [])


def test_an_export_leaves_out_and_reports_what_it_can_not_write(engine: Engine, lines: list[str]) -> None:
    with write(engine) as session:
        for candidate, run_secs in (("no-times", []), ("was-nan", [None])):
            session.add(make_record(candidate, 1.0, 1, run_secs=run_secs))
    *kept, last = log.export_lines(engine)
    assert kept == lines
    assert json.loads(last)["left_out"] == 2
    assert "run_secs" in json.loads(last)["reason"]


def test_an_export_that_left_something_out_is_imported_with_a_word_about_it(other: Engine, lines: list[str]) -> None:
    last = json.dumps({"v": 1, "left_out": 2, "reason": "record 17: too odd"})
    imported, _, skipped, errors = _import(other, ("".join(lines) + last).encode())
    assert (imported, skipped) == (4, 1)
    assert errors == ["line 5: 2 records were left out when this was exported (record 17: too odd)"]


def test_a_reader_of_an_export_keeps_no_transaction_open(
    engine: Engine, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_PAGE_ROWS", 1)
    export = log.export_lines(engine)
    next(export)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    with write(engine) as session:
        session.exec(delete(Record).where(col(Record.candidate) == "slow"))
    assert [json.loads(line)["record"]["candidate"] for line in export] == ["fast"]


def test_an_export_of_many_records_keeps_their_order(engine: Engine) -> None:
    with write(engine) as session:
        records.put_workload(session, make_workload())
        for number in range(250):
            records.add(session, make_record(f"c{number:03}", (250 - number) * 1e-6))
    candidates = [json.loads(line)["record"]["candidate"] for line in log.export_lines(engine)]
    assert candidates == sorted(candidates, reverse=True)
