"""What reads much works between measurements."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from rpc import gaps as gaps_module
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
    reader.join()
    assert made == [1, 2, 3]


def test_a_reader_is_not_kept_for_ever(lock: Path) -> None:
    with measuring(lock, 1.0):
        assert list(Gaps(lock, patience_sec=0.1).each(iter([1]))) == [1]


def test_who_waited_in_vain_goes_on_for_a_turn_and_waits_again(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring never ends here, and each block costs 30 ms of computing."""
    computed, waits = 0.0, 0

    def look(_lock: Path) -> bool:
        nonlocal waits
        waits += 1
        return True

    monkeypatch.setattr(gaps_module, "_POLL_SEC", 0.0)
    monkeypatch.setattr(gaps_module, "is_measuring", look)
    monkeypatch.setattr(time, "process_time", lambda: computed)
    gaps = Gaps(lock, patience_sec=0.0, turn_sec=0.1)
    per_turn = []
    for _ in range(12):
        gaps.wait()
        computed += 0.03
        per_turn.append(waits)
    assert per_turn == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]


def test_work_is_asked_in_a_gap_whether_it_is_still_wanted(lock: Path) -> None:
    assert Gaps(lock).asking(lambda: True)()
    assert not Gaps(lock).asking(lambda: False)()
