"""Records of other tuners in the database, and what an uploaded log is.

What Ansor measured stays what it is: records of workloads and target families of their own (``ansor-...``), listed and
exported like all others, used by no job. A job of the same operator replays the best of them as candidates to measure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from itertools import chain, islice
from typing import IO

from sqlalchemy import Engine
from sqlmodel import Session

from tuner.db import log, records
from tuner.db.engine import write
from tuner.db.models import Record, Workload
from tuner.legacy import ansor, summary
from tuner.legacy.ansor import AnsorRecord
from tuner.schemas import ImportOut

SOURCE = "legacy"
_CHUNK_LINES = 200
_LOOKED_AT = 20  # lines that tell what a log is, some of them damaged perhaps


def family(target_kind: str) -> str:
    """The target family that records of an Ansor log are kept under."""
    return f"ansor-{target_kind}"


def import_file(engine: Engine, file: IO[bytes]) -> ImportOut:
    """Import a log of ours or of Ansor, plain or gzipped, by what its first lines are. Raises UploadInvalid."""
    lines = log.read_lines(file)
    head = list(islice(lines, _LOOKED_AT))
    if any(map(ansor.is_ansor, head)):
        return import_ansor(engine, chain(head, lines))
    file.seek(0)
    return log.import_file(engine, file)


def import_ansor(engine: Engine, lines: Iterable[bytes]) -> ImportOut:
    """Store the lines of an Ansor log; damaged ones are counted with their reason."""
    out = ImportOut(imported=0, duplicates=0, skipped=0, errors=[])
    found: list[AnsorRecord] = []
    numbered = enumerate(lines, 1)
    while chunk := list(islice(numbered, _CHUNK_LINES)):
        parsed = list(_parse(chunk, out))
        found += parsed
        with write(engine) as session:
            for record in parsed:
                if _store(session, record):
                    out.imported += 1
                else:
                    out.duplicates += 1
    out.legacy = summary.summarise(found)
    return out


def _parse(chunk: list[tuple[int, bytes]], out: ImportOut) -> Iterator[AnsorRecord]:
    for number, line in chunk:
        try:
            if line.strip():
                yield ansor.parse_line(line)
        except ValueError as problem:
            log.count_damaged(out, number, problem)


def _store(session: Session, record: AnsorRecord) -> bool:
    operator = summary.operator_of(record.name, record.args)
    workload = Workload(
        id=summary.workload_id(record.name, record.args),
        name=record.name,
        summary=f"{record.name}({', '.join(map(str, record.args))}) of an Ansor log",
        flops=operator.flops if operator else 0.0,
        tir="",
    )
    records.put_workload(session, workload)
    row = Record(
        workload_id=workload.id,
        target_family=family(record.target_kind),
        target_json={"ansor": record.target},
        candidate=hashlib.sha256(record.steps_json.encode()).hexdigest()[:16],
        trace=record.steps_json,
        run_secs=list(record.run_secs),
        mean_sec=record.mean_sec,
        error_class=record.error_class,
        error="as its log says" if record.error_class else "",
        tvm_version=f"ansor {record.version}",
        source=SOURCE,
        created_at=datetime.fromtimestamp(record.timestamp, timezone.utc),
    )
    return records.add(session, row)
