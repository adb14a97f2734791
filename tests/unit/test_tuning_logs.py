"""The records that come with the product: each log is described, readable and cut to what tells something."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tuner.db.log_line import entry_of
from tuner.legacy import ansor

LOGS = Path(__file__).parents[2] / "tuning_logs"
SUFFIX = ".jsonl.gz"
MOST_BYTES = 128 * 1024
ALL = sorted(LOGS.glob("*.jsonl.gz"))


def test_every_log_is_in_the_table_of_its_page_and_no_other_is() -> None:
    lines = (LOGS / "README.md").read_text().splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| `")]
    assert sorted(rows) == sorted(f"`{path.name.removesuffix(SUFFIX)}`" for path in ALL)


def test_every_log_of_ansors_is_named_in_the_page_and_says_what_of() -> None:
    page = (LOGS / "README.md").read_text()
    found = sorted(LOGS.glob("ansor-*.json.gz"))
    assert found
    for path in found:
        kind, operator, *_ = path.name.removeprefix("ansor-").split(".")
        assert f"`{path.name.removesuffix('.json.gz')}`" in page
        logged = [ansor.parse_line(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        assert {(record.target_kind, record.name) for record in logged} == {(kind, operator)}
        seconds = [record.mean_sec or 0.0 for record in logged]
        assert seconds == sorted(seconds)
        assert min(seconds) > 0


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name.removesuffix(".jsonl.gz"))
def test_a_log_holds_records_of_its_family_the_fastest_of_a_workload_first(path: Path) -> None:
    assert path.stat().st_size < MOST_BYTES
    seen: dict[str, float] = {}
    with gzip.open(path, "rt") as lines:
        for line in lines:
            told = json.loads(line)
            workload, record = told["workload"]["id"], told["record"]
            assert entry_of(line.encode())
            assert record["target_family"] == path.name.partition(".")[0]
            if record["mean_sec"] is not None:
                assert record["mean_sec"] >= seen.get(workload, 0.0)
                seen[workload] = record["mean_sec"]
    assert seen
