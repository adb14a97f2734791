"""What a benchmark of many cases has done, and how its entries come together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.kept import is_done, merged, read, the_one

KEY = ("family", "batch", "seq")
CASE = {"family": "bert", "batch": 1, "seq": 32}
ABOUT = {"machine": "one", "versions": {"tunesmith": "1"}}


def test_a_case_is_done_once_for_each_machine_and_version() -> None:
    entry = CASE | ABOUT | {"ours_ms": 1.0}
    assert the_one(CASE | ABOUT, [CASE, entry]) == entry
    assert not is_done(CASE | ABOUT | {"machine": "another"}, [entry])
    assert not is_done(CASE | ABOUT | {"seq": 128}, [entry])


def test_the_newest_entry_of_a_case_stays_beside_those_of_others() -> None:
    entry, other = CASE | {"ours_ms": 1.0}, CASE | {"batch": 8}
    newer = CASE | {"ours_ms": 0.5}
    assert merged([entry, other], [newer], KEY) == [other, newer]


def test_an_entry_counts_while_its_artifact_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "OUT", tmp_path)
    assert read("tuned") == []
    kept = tmp_path / "art.tar"
    kept.touch()
    entries = [CASE, CASE | {"artifact": str(kept)}, CASE | {"artifact": str(tmp_path / "gone.tar")}]
    (tmp_path / "tuned.json").write_text(json.dumps(entries))
    assert read("tuned") == entries[:2]
