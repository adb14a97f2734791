"""Records as the pair of files MetaSchedule's own ``JSONDatabase(work_dir=...)`` reads."""

from __future__ import annotations

import base64
import json
import struct
import zipfile
from typing import IO

from sqlmodel import Session

from tuner.db import records

WORKLOADS = "database_workload.json"
RECORDS = "database_tuning_record.json"


def export_archive(
    session: Session,
    file: IO[bytes],
    workload_id: str | None = None,
    family: str | None = None,
    job_id: str | None = None,
    failed: bool = False,
) -> None:
    """Write a zip with both files; workloads whose TIR is not known here are left out.

    Formats as in TVM 0.27, src/s_tir/meta_schedule/database: a workload is ``[hash, base64 of (u64 length, JSON)]``,
    a record ``[index of its workload, TuningRecord.as_json()]``.
    """
    workloads: list[str] = []
    previous = ""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(RECORDS, "w", force_zip64=True) as lines:
            for record, workload in records.by_workload(session, workload_id, family, job_id, failed):
                if not workload.tir or not record.trace:
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
