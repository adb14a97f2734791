"""Writes a small database of the newest revision to tests/migration/assets; run once for each release.

``python -m tests.migration.make_asset``
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from tests.support.rows import add_job, make_record, make_workload
from tuner.config import Settings
from tuner.db import events, records
from tuner.db.engine import make_engine, write
from tuner.db.migrate import head, upgrade

ASSETS = Path(__file__).parent / "assets"


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        upgrade(settings)
        engine = make_engine(settings)
        with write(engine) as session:
            job = add_job(session, "succeeded", latency_ms=10.0)
            records.put_workload(session, make_workload())
            records.add(session, make_record("a", 1e-3, job_id=job.id))
            events.emit(session, "state", {"state": "succeeded"}, job.id)
        engine.dispose()
        target = ASSETS / f"{head()}.db"
        target.unlink(missing_ok=True)
        with closing(sqlite3.connect(settings.root / "tunesmith.db")) as source:
            source.execute("PRAGMA journal_mode=DELETE")
            source.execute("PRAGMA page_size=512")  # a page per table and index: keep the file small
            source.execute("VACUUM INTO ?", (str(target),))


if __name__ == "__main__":
    main()
