"""What holds for the web process as a whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.rest import talking_to
from tests.support.rows import make_record, make_workload
from tuner.config import Settings
from tuner.db import log, records
from tuner.db.engine import make_engine, write
from tuner.db.migrate import upgrade

ANSWER_EVERYTHING = """
import sys
from pathlib import Path
from tests.support.rest import talking_to
from tuner.config import Settings

client = talking_to(Settings(data_dir=Path(sys.argv[1]))).__enter__()
job = client.post("/v1/jobs", json={"model": "minilm-l6", "target": "local", "budget": {"trials": 64}}).json()
routes = [path for path, methods in client.get("/openapi.json").json()["paths"].items() if "get" in methods]
for path in [*routes, "/", f"/jobs/{job['id']}", "/devices"]:
    if path != "/v1/events":
        client.get(path.replace("{job_id}", job["id"]))
client.get("/v1/records/export?format=metaschedule")
client.post("/v1/records/import", content=b"{}")
client.post(f"/v1/jobs/{job['id']}/cancel")
heavy = {"tvm", "tvm_ffi", "torch", "transformers", "xgboost", "distributed"} & set(sys.modules)
print(len(routes), sorted(heavy))
"""


def test_the_web_process_never_loads_tvm_or_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ANSWER_EVERYTHING, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    count, heavy = done.stdout.split(" ", 1)
    assert int(count) > 15
    assert heavy.strip() == "[]"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def big_log(tmp_path: Path) -> bytes:
    """A log that is larger than the small disk."""
    settings = Settings(data_dir=tmp_path / "big")
    upgrade(settings)
    engine = make_engine(settings)
    with write(engine) as session:
        records.put_workload(session, make_workload())
        for number in range(600):
            records.add(session, make_record(f"c{number}", 1e-3, trace=f'["{"x" * 5000}"]'))
    content = "".join(log.export_lines(engine)).encode()
    engine.dispose()
    return content


def test_a_full_disk_is_an_error_with_a_way_out_and_loses_nothing(small_disk: Path, big_log: bytes) -> None:
    with talking_to(Settings(data_dir=small_disk / "data")) as client:
        job = client.post("/v1/jobs", json={"model": "minilm-l6"}).json()
        answer = client.post("/v1/records/import", content=big_log)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (507, "storage_full")
        assert str(small_disk) in error["message"]
        assert "df -h" in error["hint"]
        assert client.get(f"/v1/jobs/{job['id']}").json() == job
        assert client.get("/v1/jobs").json()["total"] == 1


def test_a_disk_that_is_full_from_the_start_is_told(small_disk: Path) -> None:
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from api.app import create_app; create_app()"],
        env={"TUNER_DATA_DIR": str(small_disk / "data"), "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "StorageFull: No space is left" in done.stderr
