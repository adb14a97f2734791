"""MetaSchedule's pair of files, zipped, as lines of our log: what ``records export --metaschedule`` or TVM's own
``JSONDatabase`` wrote. Whatever does not fit is damage of a line, or UploadInvalid for the whole."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from statistics import median
from typing import IO, Any

from tuner import strict_json
from tuner.db.lines import MAX_RATIO, Damage, Numbered, in_lines
from tuner.db.metaschedule import BESIDE, RECORDS, WORKLOADS
from tuner.errors import UploadInvalid
from tuner.targets import triples

_BLOCK = 64 * 1024
_JUDGED_FROM_BYTES = 16 * 1024 * 1024
_LENGTH_BYTES = 8  # before a workload's JSON
_FAILED_SEC = 1e9  # MetaSchedule writes 1e10 seconds for what failed
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


def is_archive(file: IO[bytes]) -> bool:
    """Does the file begin as a zip does?"""
    magic = file.read(4)
    file.seek(0)
    return magic.startswith(b"PK")


def lines(
    file: IO[bytes], max_unpacked_bytes: int | None = None, still_wanted: Callable[[], bool] = lambda: True
) -> Iterator[Numbered]:
    """Records as lines of our log, numbered as in the archive's own file of them, while they are ``still_wanted``.

    Raises UploadInvalid when it is no such archive, or unpacks to more than is allowed.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = _Unpacked(archive, max_unpacked_bytes, still_wanted)
            workloads = [line for _, line in unpacked.lines(WORKLOADS)]
            beside = unpacked.lines(BESIDE) if BESIDE in archive.namelist() else ()
            told: set[str] = set()
            for (number, line), (_, about) in zip(
                unpacked.lines(RECORDS), chain(beside, repeat((0, b"{}"))), strict=False
            ):
                yield number, _joined(line, about, workloads, told)
    except _BROKEN as error:
        raise UploadInvalid(
            f"The upload is a zip archive, but none of MetaSchedule's records: {error}.",
            f"Send {WORKLOADS} and {RECORDS} zipped, as `tunesmith records export --metaschedule` writes them.",
        ) from None


class _Unpacked:
    """Members of an archive by lines; together no more than is allowed."""

    def __init__(self, archive: zipfile.ZipFile, most: int | None, still_wanted: Callable[[], bool]) -> None:
        self._archive, self._most, self._still_wanted = archive, most, still_wanted
        self._unpacked = 0

    def lines(self, name: str) -> Iterator[Numbered]:
        return in_lines(self._blocks(name))

    def _blocks(self, name: str) -> Iterator[bytes | Damage]:
        if name not in self._archive.namelist():
            raise ValueError(f"{name} is not in it")
        with self._archive.open(name) as member:
            packed = self._archive.getinfo(name).compress_size
            of_member = 0
            while self._still_wanted() and (block := member.read(_BLOCK)):
                self._unpacked += len(block)
                of_member += len(block)
                if self._unpacked > (self._most or self._unpacked) or of_member > max(
                    packed * MAX_RATIO, _JUDGED_FROM_BYTES
                ):
                    raise ValueError(f"it unpacks to more than {self._unpacked // 2**20} MiB")
                yield block


def _joined(
    line: bytes | Damage, about: bytes | Damage, workloads: list[bytes | Damage], told: set[str]
) -> bytes | Damage:
    """A line of our log; the TIR of a workload that was ``told`` already is left out."""
    for part in (line, about):
        if isinstance(part, Damage):
            return part
    try:
        index, record = strict_json.parse(line)  # type: ignore[arg-type]
        beside = strict_json.parse(about)  # type: ignore[arg-type]
        workload = workloads[_index(index, len(workloads))]
        if isinstance(workload, Damage):
            return workload
        whole: dict[str, Any] = {"v": 1, "workload": _workload(workload, beside), "record": _record(record, beside)}
        if (workload_id := whole["workload"]["id"]) in told:
            del whole["workload"]["tir"]
        told.add(workload_id)
        return json.dumps(whole).encode()
    except (AttributeError, KeyError, LookupError, TypeError, ValueError) as error:
        return Damage(f"no record of MetaSchedule's: {error}")


def _index(value: Any, count: int) -> int:
    if not isinstance(value, int) or not 0 <= value < count:
        raise ValueError(f"it is of workload {value!r}, there are {count}")
    return value


def _workload(line: bytes, beside: dict[str, Any]) -> dict[str, Any]:
    number, blob = strict_json.parse(line)
    try:
        tir = base64.b64decode(blob, validate=True)[_LENGTH_BYTES:].decode()
    except (binascii.Error, TypeError) as error:
        raise ValueError(f"its workload: {error}") from None
    known = beside.get("workload") or {"name": "main", "summary": "of a log of MetaSchedule's", "flops": 0.0}
    return {**known, "id": f"wl-{int(number):016x}", "tir": tir}


def _record(record: Any, beside: dict[str, Any]) -> dict[str, Any]:
    trace, secs, target, _ = record
    has_failed = not secs or min(secs) >= _FAILED_SEC
    known = beside.get("record") or {
        "target": target,
        "target_family": triples.family(target),
        "candidate": "ms-" + hashlib.sha256(json.dumps(trace).encode()).hexdigest()[:16],
        "error_class": "run" if has_failed else "",
        "error": "as its log says" if has_failed else "",
    }
    return {
        **known,
        "trace": record,
        "run_secs": [] if has_failed else secs,
        "mean_sec": None if has_failed else median(secs),
    }
