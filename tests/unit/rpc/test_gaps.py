"""What reads much works between measurements."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rpc.gaps import Gaps
from rpc.quiet import measuring


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def test_a_block_is_made_when_the_measurement_has_ended(lock: Path) -> None:
    made: list[int] = []
    gaps = Gaps(lock, patience_sec=60.0)

    def read_all() -> None:
        made.extend(gaps.each(iter([1, 2, 3])))

    with measuring(lock, 1.0):
        reader = threading.Thread(target=read_all)
        reader.start()
        reader.join(0.3)
        assert made == []
    reader.join(30.0)
    assert made == [1, 2, 3]


def test_a_reader_is_not_kept_for_ever(lock: Path) -> None:
    with measuring(lock, 1.0):
        assert list(Gaps(lock, patience_sec=0.1).each(iter([1]))) == [1]


def test_work_is_asked_in_a_gap_whether_it_is_still_wanted(lock: Path) -> None:
    assert Gaps(lock).asking(lambda: True)()
    assert not Gaps(lock).asking(lambda: False)()
