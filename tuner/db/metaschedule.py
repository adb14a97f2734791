"""Records as the pair of files MetaSchedule's own ``JSONDatabase(work_dir=...)`` reads."""

from __future__ import annotations

import base64
import json
import re
import struct
import zipfile
from collections.abc import Callable
from typing import IO

from sqlalchemy import Engine

from tuner.db.walk import walk

WORKLOADS = "database_workload.json"
RECORDS = "database_tuning_record.json"
_ID = re.compile("wl-[0-9a-f]{16}")  # of a workload of TensorIR; others have no hash


def export_archive(
    engine: Engine,
    file: IO[bytes],
    workload_id: str | None = None,
    family: str | None = None,
    job_id: str | None = None,
    failed: bool = False,
    still_wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Write a zip with both files, for as long as it is ``still_wanted``; workloads whose TIR is not known here, and
    those of other tuners, are left out.

    Formats as in TVM 0.27, src/s_tir/meta_schedule/database: a workload is ``[hash, base64 of (u64 length, JSON)]``,
    a record ``[index of its workload, TuningRecord.as_json()]``.
    """
    workloads: list[str] = []
    previous = ""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(RECORDS, "w", force_zip64=True) as lines:
            for record, workload in walk(engine, workload_id, family, job_id, failed):
                if not still_wanted():
                    break
                # Only a schedule has a trace that MetaSchedule reads; a kernel that was written out has a choice.
                if not (_ID.fullmatch(workload.id) and workload.tir and record.trace.startswith("[")):
                    continue
                if workload.id != previous:
                    workloads.append(_workload_line(workload.id, workload.tir))
                    previous = workload.id
                lines.write(f"[{len(workloads) - 1},{record.trace}]\n".encode())
        archive.writestr(WORKLOADS, "".join(workloads))


def _workload_line(workload_id: str, tir: str) -> str:
    text = tir.encode()
    blob = base64.b64encode(struct.pack("<Q", len(text)) + text).decode()
    return json.dumps([str(int(workload_id.removeprefix("wl-"), 16)), blob]) + "\n"
