"""Records of other tuners in the database, and what an uploaded log is.

What Ansor measured stays what it is: records of workloads and target families of their own (``ansor-...``), listed and
exported like all others, used by no job. A job of the same operator replays the best of them as candidates to measure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from itertools import chain
from typing import IO

from sqlalchemy import Engine

from tuner.db import log
from tuner.db.intake import take_in
from tuner.db.lines import Numbered, read_lines
from tuner.db.log_line import ANSOR, Entry
from tuner.errors import UploadInvalid
from tuner.legacy import ansor, autotvm, metaschedule, summary
from tuner.legacy.ansor import AnsorRecord
from tuner.schemas import ImportOut

SOURCE = "legacy"
_LOOKED_AT = 20  # lines that tell what a log is, some of them damaged perhaps
_LOOKED_AT_BYTES = 4 * 1024 * 1024


def family(target_kind: str) -> str:
    """The target family that records of an Ansor log are kept under."""
    return f"{ANSOR}{target_kind}"


def import_file(
    engine: Engine,
    file: IO[bytes],
    max_unpacked_bytes: int | None = None,
    still_wanted: Callable[[], bool] = lambda: True,
) -> ImportOut:
    """Import a log of ours or of Ansor, plain or gzipped, by what its first lines are, or MetaSchedule's pair of files
    in a zip, while it is ``still_wanted``. Raises UploadInvalid.
    """
    if metaschedule.is_archive(file):
        return log.import_numbered(engine, metaschedule.lines(file, max_unpacked_bytes, still_wanted))
    lines = read_lines(file, max_unpacked_bytes, still_wanted)
    head = _head(lines)
    if any(isinstance(line, bytes) and autotvm.is_autotvm(line) for _, line in head):
        raise UploadInvalid(
            "It is a log of AutoTVM, TVM's older tuner, whose records can't be read: they are of its own templates.",
            "Give a log of TuneSmith or Ansor, or MetaSchedule's pair of files in a zip.",
        )
    if any(isinstance(line, bytes) and ansor.is_ansor(line) for _, line in head):
        return import_ansor(engine, chain(head, lines))
    return log.import_numbered(engine, chain(head, lines))


def import_ansor(engine: Engine, lines: Iterable[Numbered]) -> ImportOut:
    """Store the lines of an Ansor log; damaged ones are counted with their reason."""
    found = summary.Summaries()

    def parse(line: bytes) -> Entry:
        record = ansor.parse_line(line)
        entry = _entry(record)
        found.add(record)
        return entry

    out = take_in(engine, lines, parse, SOURCE)
    out.legacy = found.told()
    return out


def _head(lines: Iterator[Numbered]) -> list[Numbered]:
    head: list[Numbered] = []
    size_bytes = 0
    for number, line in lines:
        head.append((number, line))
        size_bytes += len(line) if isinstance(line, bytes) else 0
        if len(head) >= _LOOKED_AT or size_bytes >= _LOOKED_AT_BYTES:
            break
    return head


def _entry(record: AnsorRecord) -> Entry:
    operator = summary.operator_of(record.name, record.args)
    workload = {
        "id": summary.workload_id(record.name, record.args),
        "name": record.name,
        "summary": f"{record.name}({', '.join(map(str, record.args))}) of an Ansor log",
        "flops": operator.flops if operator else 0.0,
        "tir": "",
    }
    row = {
        "workload_id": workload["id"],
        "target_family": family(record.target_kind),
        "target_json": {"ansor": record.target},
        "candidate": hashlib.sha256(record.steps_json.encode()).hexdigest()[:16],
        "trace": record.steps_json,
        "run_secs": list(record.run_secs),
        "mean_sec": record.mean_sec,
        "error_class": record.error_class,
        "error": "as its log says" if record.error_class else "",
        "tvm_version": f"ansor {record.version}",
        "created_at": datetime.fromtimestamp(record.timestamp, timezone.utc),
    }
    return Entry(workload, row)
