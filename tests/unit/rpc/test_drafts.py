"""Drafts are nobody's but their maker's, and none outlives the next one's making."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rpc.drafts import draft
from tests.support.processes import kill_hard, patience, python_code, running

HOLD = """
import sys, time
import subprocess
from pathlib import Path
from rpc.drafts import draft
with draft(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


def test_draft_goes_with_what_was_not_taken_from_it(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    with draft(root) as folder:
        (folder / "whole").write_text("kept")
        (folder / "half").write_text("not kept")
        (folder / "whole").rename(root / "whole")
    with pytest.raises(OSError, match="full"), draft(root):
        raise OSError("full")
    assert [path.name for path in root.iterdir()] == ["whole"]


def test_draft_of_a_killed_process_goes_when_the_next_is_made_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    with running(python_code(HOLD, str(tmp_path))) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        with draft(tmp_path):
            assert theirs.is_dir()
        kill_hard(other.pid)
        other.wait()
    assert theirs.is_dir()
    with draft(tmp_path) as ours, draft(tmp_path) as more:
        assert {path.name for path in tmp_path.iterdir()} == {"kept", ours.name, more.name}


def test_nothing_is_removed_through_a_link_or_of_another_name(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "kept").mkdir(parents=True)
    (tmp_path / ".draft-link").symlink_to(elsewhere)
    (tmp_path / ".draft-file").write_text("kept")
    with draft(tmp_path, "mine-"), draft(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", ".draft-link", ".draft-file"}
    assert (elsewhere / "kept").is_dir()


OWN = """
import os, subprocess, sys, tempfile, time
from rpc.drafts import have_own_tempdir
have_own_tempdir()
print(tempfile.mkdtemp(), flush=True)
print(subprocess.check_output([sys.executable, "-c", "import tempfile; print(tempfile.mkdtemp())"], text=True).strip())
sys.stdout.flush()
time.sleep(float(sys.argv[1]))
"""


def temporary_folders(process: subprocess.Popen[str]) -> list[Path]:
    """What a process and its child have made."""
    assert process.stdout is not None
    return [Path(process.stdout.readline().strip()) for _ in range(2)]


def test_temporary_files_of_a_process_and_its_children_go_with_it(tmp_path: Path) -> None:
    with running(python_code(OWN, "0"), TMPDIR=str(tmp_path)) as process:
        made = temporary_folders(process)
        assert process.wait(patience(20)) == 0
    assert all(path.is_relative_to(tmp_path) for path in made)
    assert list(tmp_path.iterdir()) == []


def test_temporary_files_of_a_killed_process_go_with_the_start_of_the_next(tmp_path: Path) -> None:
    with running(python_code(OWN, "60"), TMPDIR=str(tmp_path)) as process:
        made = temporary_folders(process)
        kill_hard(process.pid)
        process.wait()
    assert all(path.is_dir() for path in made)
    with running(python_code(OWN, "60"), TMPDIR=str(tmp_path)) as process:
        ours = temporary_folders(process)
        assert not any(path.exists() for path in made)
        assert all(path.is_dir() for path in ours)


def test_a_strangers_folder_of_our_prefix_survives(tmp_path: Path) -> None:
    chapter = tmp_path / ".draft-of-my-thesis" / "chapter1.txt"
    chapter.parent.mkdir()
    chapter.write_text("years of work")
    with draft(tmp_path):
        pass
    assert chapter.read_text() == "years of work"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's folder")
def test_another_users_draft_is_left_to_him(tmp_path: Path) -> None:
    with draft(tmp_path) as folder:
        theirs = shutil.copytree(folder, tmp_path / ".draft-theirs")
    os.chown(theirs, 12345, 12345)
    with draft(tmp_path):
        pass
    assert theirs.is_dir()
    os.chown(theirs, 0, 0)
    with draft(tmp_path):
        assert not theirs.exists()
