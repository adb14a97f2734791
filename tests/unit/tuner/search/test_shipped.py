"""Which of the shipped records a job starts from."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support.rows import make_record, make_workload
from tuner.config import Settings
from tuner.db import known, records
from tuner.db.engine import read, write
from tuner.db.log_line import line_of
from tuner.search import shipped

FAMILY = "llvm-x86_64-znver5-2c"


@pytest.fixture
def logs(settings: Settings, tmp_path: Path) -> Settings:
    """Settings whose shipped logs hold two records each of workloads 1 and 2, for two families."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for family in (FAMILY, "llvm-x86_64-znver5-20c", "llvm-x86_64-znver5"):
        lines = [
            line_of(make_record(f"{family}-{n}-{k}", 1e-3 * k, workload=n, family=family), make_workload(n), k == 1)
            for n in (1, 2)
            for k in (1, 2)
        ]
        with gzip.open(folder / f"{family}.tiny.jsonl.gz", "wt") as file:
            file.writelines(lines)
    (folder / "README.md").write_text("not a log")
    return settings.model_copy(update={"logs_dir": folder})


def test_only_records_of_the_family_come_in(logs: Settings, engine: Engine) -> None:
    wanted = make_workload(1)
    out = shipped.bring_in(engine, logs, {wanted.id}, FAMILY)
    assert (out.imported, out.duplicates, out.skipped) == (4, 0, 0)
    with read(engine) as session:
        found = known.candidates(session, wanted.id, FAMILY)
        assert found == {f"{FAMILY}-1-1", f"{FAMILY}-1-2"}
        assert not known.candidates(session, wanted.id, "llvm-x86_64-znver5")
        (best,) = records.best(session, wanted.id, FAMILY)
    assert best.source == "shipped"


def test_the_fastest_of_other_workloads_come_in_too(logs: Settings, engine: Engine) -> None:
    with gzip.open(shipped.logs_folder(logs) / f"{FAMILY}.more.jsonl.gz", "wt") as file:
        for k in range(20):
            record = make_record(f"more-{k}", 1e-3 * (k + 1), workload=4, family=FAMILY)
            file.write(line_of(record, make_workload(4), k == 0))
    out = shipped.bring_in(engine, logs, {make_workload(3).id}, FAMILY)
    assert out.imported == 2 + 2 + shipped.OF_RELATED
    with read(engine) as session:
        best = records.best(session, make_workload(4).id, FAMILY, 20)
        assert [record.candidate for record in best] == [f"more-{k}" for k in range(shipped.OF_RELATED)]
        assert {w.id for w in records.related(session, make_workload(3), FAMILY, 9)} == {
            make_workload(number).id for number in (1, 2, 4)
        }


def test_own_records_are_not_replaced_by_shipped_ones(logs: Settings, engine: Engine) -> None:
    with write(engine) as session:
        records.put_workload(session, make_workload(1))
        records.add(session, make_record(f"{FAMILY}-1-1", 5.0, family=FAMILY))
    out = shipped.bring_in(engine, logs, {make_workload(1).id}, FAMILY)
    assert (out.imported, out.duplicates) == (3, 1)
    with read(engine) as session:
        own = records.get(session, make_workload(1).id, FAMILY, f"{FAMILY}-1-1")
    assert own is not None
    assert (own.mean_sec, own.source) == (5.0, "measured")


def test_another_family_brings_nothing(logs: Settings, engine: Engine) -> None:
    assert shipped.bring_in(engine, logs, {make_workload(1).id}, "llvm-aarch64-apple-m1-4c").imported == 0


def test_missing_folder_is_no_error(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    nowhere = settings.model_copy(update={"logs_dir": tmp_path / "nowhere"})
    assert shipped.bring_in(engine, nowhere, {make_workload(1).id}, FAMILY).imported == 0


def test_checkout_ships_its_logs(settings: Settings) -> None:
    assert (shipped.logs_folder(settings) / "README.md").is_file()
