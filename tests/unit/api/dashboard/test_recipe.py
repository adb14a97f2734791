"""The lines that a page gives to run an artifact name all that it takes."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from api.dashboard.recipe import how_to_run
from tuner.schemas import ArtifactOut, JobOut


@pytest.mark.parametrize(
    ("manifest", "unpacked"),
    [({"batch": 1, "seq_len": 128}, "loader.py"), ({"texts": {"longest": 512}}, "loader.py texts.py")],
)
def test_all_that_the_loader_needs_is_unpacked(manifest: dict[str, Any], unpacked: str) -> None:
    now = datetime.now(timezone.utc)
    artifact = ArtifactOut(id="art-1", job_id="job-1", size_bytes=1, sha256="", manifest=manifest, created_at=now)
    lines = how_to_run(JobOut.model_construct(id="job-1"), artifact).splitlines()
    assert f"tar -xf art-1.tar {unpacked}" in lines
