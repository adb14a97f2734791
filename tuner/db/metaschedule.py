"""Records as the pair of files MetaSchedule's own ``JSONDatabase(work_dir=...)`` reads."""

from __future__ import annotations

import base64
import json
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from sqlalchemy import Engine

from tuner import strict_json
from tuner.db.log_line import RecordLine, WorkloadLine
from tuner.db.models import Record, Workload
from tuner.db.walk import walk

WORKLOADS = "database_workload.json"
RECORDS = "database_tuning_record.json"
BESIDE = "tunesmith.jsonl"  # what MetaSchedule has no place for, a line for each record
OF_WORKLOAD = set(WorkloadLine.model_fields) - {"tir"}
OF_RECORD = set(RecordLine.model_fields) - {"trace", "run_secs"}
_IN_MEMORY_BYTES = 1024 * 1024
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
    a record ``[index of its workload, TuningRecord.as_json()]``. Beside them lies what an import here knows records by.
    """
    workloads: list[str] = []
    previous = ""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, SpooledTemporaryFile(_IN_MEMORY_BYTES) as beside:
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
                lines.write(f"[{len(workloads) - 1},{_timed(record)}]\n".encode())
                beside.write(_beside(record, workload).encode())
        archive.writestr(WORKLOADS, "".join(workloads))
        beside.seek(0)
        with archive.open(BESIDE, "w", force_zip64=True) as member:  # an archive takes one member at a time
            shutil.copyfileobj(beside, member)


def _timed(record: Record) -> str:
    """``TuningRecord.as_json()`` with its run seconds: a trace is stored before it is timed."""
    parts: list[Any] = strict_json.parse(record.trace)
    parts[1:2] = [record.run_secs or None]
    return json.dumps(parts, separators=(",", ":"))


def _beside(record: Record, workload: Workload) -> str:
    of_record = record.model_dump(mode="json", include=OF_RECORD) | {"target": record.target_json}
    of_workload = workload.model_dump(mode="json", include=OF_WORKLOAD)
    return json.dumps({"workload": of_workload, "record": of_record}, separators=(",", ":")) + "\n"


def _workload_line(workload_id: str, tir: str) -> str:
    text = tir.encode()
    blob = base64.b64encode(struct.pack("<Q", len(text)) + text).decode()
    return json.dumps([str(int(workload_id.removeprefix("wl-"), 16)), blob]) + "\n"
