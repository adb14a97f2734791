"""Drafts are nobody's but their maker's, and none outlives the next one's making."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import kill_hard, python_code, running
from tuner.drafts import draft

HOLD = """
import sys, time
from pathlib import Path
from tuner.drafts import draft
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
    with draft(tmp_path) as ours:
        assert {path.name for path in tmp_path.iterdir()} == {"kept", ours.name}
