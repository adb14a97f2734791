"""Logs stay small and complete."""

from __future__ import annotations

from pathlib import Path

from rpc.logfile import rotate, tail


def test_full_log_moves_on_and_its_writer_goes_on_writing(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    with path.open("ab") as writer:
        for number in range(5):
            writer.write(b"%d" % number * 20)
            writer.flush()
            rotate(path, max_bytes=10)
            assert path.read_bytes() == b""
        writer.write(b"last")
    assert path.read_bytes() == b"last"
    assert [(tmp_path / f"web.log.{n}").read_bytes()[:1] for n in (1, 2, 3)] == [b"4", b"3", b"2"]
    assert len(list(tmp_path.iterdir())) == 4


def test_small_or_missing_log_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    rotate(path)
    path.write_text("short")
    rotate(path)
    assert [p.name for p in tmp_path.iterdir()] == ["web.log"]


def test_tail_shows_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    assert tail(path, 2) == "  (no log)"
    path.write_text("one\ntwo\nthree\n")
    assert tail(path, 2) == "  two\n  three"
