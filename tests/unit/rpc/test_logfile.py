"""Logs stay small and lose nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rpc import logfile
from rpc.logfile import LogFile, tail
from tests.support.processes import patience

LINES = "import sys; [print(n, flush=n % 7 == 0) for n in range(int(sys.argv[1]), int(sys.argv[2]))]"


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was printed is waited for until it is there."""
    monkeypatch.setattr(logfile, "_SETTLE_SEC", patience(1))


def printed(log: LogFile, *args: str, code: str = LINES) -> None:
    """What a process prints, once all of it is in the log."""
    with log.writer() as output:
        process = subprocess.Popen([sys.executable, "-c", code, *args], stdout=output, stderr=output)
    assert process.wait(patience(30)) == 0
    log.tail(1)


def all_lines(path: Path) -> list[str]:
    """Of all files, the oldest first."""
    files = [path.with_name(f"{path.name}.{number}") for number in (3, 2, 1)] + [path]
    return [line for file in files if file.exists() for line in file.read_text().splitlines()]


def test_no_line_is_lost_or_cut_when_the_file_is_renamed(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    log = LogFile(path, max_bytes=30_000)
    printed(log, "0", "18000")
    assert all_lines(path) == [str(n) for n in range(18_000)]
    assert sum(file.exists() for file in (path, tmp_path / "web.log.1", tmp_path / "web.log.2")) >= 2


def test_the_oldest_go_and_no_file_grows_without_end(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    printed(LogFile(path, max_bytes=1000), "0", "60000")
    assert {file.name for file in tmp_path.iterdir()} <= {"web.log", "web.log.1", "web.log.2", "web.log.3"}
    assert all(file.stat().st_size < 3 * 65536 for file in tmp_path.iterdir())
    kept = all_lines(path)
    assert kept == [str(n) for n in range(60_000 - len(kept), 60_000)]


def test_what_children_and_a_successor_print_comes_too(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log")
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1)'])"
    printed(log, code=code)
    printed(log, "2", "4")
    assert all_lines(log.path) == ["1", "2", "3"]


def test_the_last_words_of_a_process_are_in_its_tail(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log")
    with log.writer() as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "print('one'); raise SystemExit('two')"], stdout=output, stderr=output
        )
    process.wait(patience(30))
    assert log.tail(2) == "  one\n  two"


def test_a_full_disk_holds_nobody_up_and_the_gap_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "web.log"
    path.symlink_to("/dev/full")
    log = LogFile(path)
    printed(log, "0", "50000")  # far more than a pipe holds
    assert "takes nothing for now" in caplog.text
    path.unlink()
    printed(log, "50000", "50001")
    lost, line = path.read_text().splitlines()
    assert lost == f"({sum(len(str(n)) + 1 for n in range(50_000))} bytes are missing here: the disk was full)"
    assert line == "50000"


def test_a_process_that_can_not_be_started_leaves_no_thread(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log")
    with pytest.raises(OSError, match="process"), log.writer():
        raise OSError("no process")
    log.tail(1)
    assert "web.log" not in {thread.name for thread in threading.enumerate()}


def test_tail_shows_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    assert tail(path, 2) == "  (no log)"
    path.write_text("one\ntwo\nthree\n")
    assert tail(path, 2) == "  two\n  three"
