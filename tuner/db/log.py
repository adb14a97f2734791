"""The record log: newline-separated JSON, one record a line (`log_line` has its form), in both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import IO

from sqlalchemy import Engine

from tuner.db.intake import take_in
from tuner.db.lines import Numbered, read_lines
from tuner.db.log_line import entry_of, line_of
from tuner.db.walk import walk
from tuner.errors import UploadInvalid
from tuner.schemas import ImportOut, LeftOut


def export_lines(
    engine: Engine,
    workload_id: str | None = None,
    family: str | None = None,
    job_id: str | None = None,
    failed: bool = False,
) -> Iterator[str]:
    """The log's lines, a workload's records together and fastest first; only its first line carries the TIR.

    A record that no import would take is left out. How many were, and why the first, is told by a last line, which is
    no record's.
    """
    previous = ""
    left_out, reason = 0, ""
    for record, workload in walk(engine, workload_id, family, job_id, failed):
        try:
            yield line_of(record, workload, with_tir=workload.id != previous)
        except ValueError as error:
            left_out += 1
            reason = reason or f"record {record.id}: {str(error)[:300]}"
        else:
            previous = workload.id
    if left_out:
        yield LeftOut(left_out=left_out, reason=reason).model_dump_json() + "\n"


def import_lines(engine: Engine, lines: Iterable[bytes], source: str = "imported") -> ImportOut:
    """Store the lines' records, as ``take_in`` does; ``source`` is what the records will say."""
    return take_in(engine, enumerate(lines, 1), entry_of, source)


def import_numbered(engine: Engine, lines: Iterable[Numbered]) -> ImportOut:
    """Store the records of an upload's lines. Raises UploadInvalid when not one of them is a record."""
    out = take_in(engine, lines, entry_of, "imported")
    if out.imported + out.duplicates == 0:
        reason = f"no line of it is a record ({out.errors[0]})" if out.errors else "it is empty"
        raise UploadInvalid(
            f"The uploaded log can't be used: {reason}.",
            "Send what `tunesmith records export` writes: one JSON record a line, gzipped or not.",
        )
    return out


def import_file(engine: Engine, file: IO[bytes], still_wanted: Callable[[], bool] = lambda: True) -> ImportOut:
    """Import a log of ours, plain or gzipped, while it is ``still_wanted``. Raises UploadInvalid."""
    return import_numbered(engine, read_lines(file, still_wanted=still_wanted))
