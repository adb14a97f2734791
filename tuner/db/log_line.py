"""The form of one line of the record log, and what of it becomes rows. Pure: whatever does not fit is a ValueError.

A line is ``{"v": 1, "workload": {id, name, summary, flops, weight_bytes, tir?}, "record": {trace, run_secs, target,
target_family, device, candidate, mean_sec, error_class, error, tvm_version, evaluator, canary_ratio, created_at}}``;
``trace`` is what ``TuningRecord.as_json()`` gives, and only a workload's first line carries its ``tir``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from statistics import fmean, median
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, FiniteFloat, StringConstraints, ValidationError, model_validator

from tuner import strict_json
from tuner.db.models import Record, Workload
from tuner.schemas import LeftOut

ANSOR = "ansor-"  # how families and workloads of Ansor's records begin
MAX_INTEGER = 2**63 - 1
_MAX_TRACE_CHARS = 1024 * 1024  # hundreds of times what a large kernel's takes
_MAX_OBJECT_CHARS = 64 * 1024
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=timezone.utc), datetime(2100, 1, 1, tzinfo=timezone.utc)


def _text(most: int, pattern: str = r"^[^\x00]*$", least: int = 0) -> Any:
    """Text of so many characters; a NUL is none that every database takes."""
    return StringConstraints(min_length=least, max_length=most, pattern=pattern)


Time = Annotated[FiniteFloat, Field(gt=0, lt=1e9)]  # seconds
Word = Annotated[str, _text(300, r"^[!-~]*$")]


class WorkloadLine(BaseModel):
    """A workload as a line tells it."""

    id: Annotated[str, StringConstraints(pattern=r"^(wl|ansor)-[0-9a-f]{16}$")]
    name: Annotated[str, _text(1000)]
    summary: Annotated[str, _text(20_000)]
    flops: FiniteFloat = Field(ge=0)
    weight_bytes: int = Field(0, ge=0, le=MAX_INTEGER)
    tir: Annotated[str, _text(8_000_000)] = ""


class RecordLine(BaseModel):
    """A record as a line tells it: times, or why it failed."""

    trace: Any
    run_secs: list[Time] = Field(max_length=10_000)
    target: dict[str, Any]
    target_family: Annotated[Word, Field(min_length=1)]
    device: Annotated[str, _text(300)] = ""
    candidate: Annotated[Word, Field(min_length=1)]
    mean_sec: Time | None = None
    error_class: Annotated[str, StringConstraints(pattern=r"^[a-z_]{0,40}$")] = ""
    error: Annotated[str, _text(20_000)] = ""
    tvm_version: Annotated[str, _text(100)] = ""
    evaluator: dict[str, Any] = Field(default_factory=dict)
    canary_ratio: FiniteFloat | None = None
    created_at: Annotated[AwareDatetime, Field(ge=_EARLIEST, lt=_LATEST)] | None = None

    @model_validator(mode="after")
    def _measured_or_failed(self) -> RecordLine:
        if (self.mean_sec is None) != bool(self.error_class):
            raise ValueError("a record has either a mean_sec or an error_class")
        if self.mean_sec is not None:  # what it is made of is what was measured
            if not self.run_secs:
                raise ValueError("a record with a mean_sec has run_secs")
            self.mean_sec = typical_sec(self.target_family, self.run_secs)
        return self


class Line(BaseModel):
    """One line."""

    v: Literal[1]
    workload: WorkloadLine
    record: RecordLine


@dataclass(frozen=True)
class Entry:
    """What rows are made of: a record and its workload, column by column, each value as it may be stored."""

    workload: dict[str, Any]
    record: dict[str, Any]


def typical_sec(family: str, run_secs: list[float]) -> float:
    """What a candidate's repeats come to: their median; Ansor went by their mean."""
    return fmean(run_secs) if family.startswith(ANSOR) else median(run_secs)


def line_of(record: Record, workload: Workload, with_tir: bool = True) -> str:
    """One record as a line of the log, ending in a newline. Raises ValueError for one that no import would take."""
    line = Line(
        v=1,
        workload=WorkloadLine.model_validate(workload, from_attributes=True),
        record=RecordLine(
            trace=strict_json.parse(record.trace) if record.trace else None,
            target=record.target_json,
            **record.model_dump(include=set(RecordLine.model_fields) - {"trace", "target"}),
        ),
    )
    return line.model_dump_json(exclude=None if with_tir else {"workload": {"tir"}}) + "\n"


def entry_of(raw: bytes) -> Entry:
    """What a line says. Raises ValueError naming the field that is wrong, and how."""
    try:
        line = Line.model_validate_json(raw)
    except ValidationError as error:
        _tell_left_out(raw)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else f"not a JSON record, begins {raw[:60]!r}") from None
    told = line.record
    trace = strict_json.dump(told.trace, "record.trace", _MAX_TRACE_CHARS)
    strict_json.dump(told.target, "record.target", _MAX_OBJECT_CHARS)
    strict_json.dump(told.evaluator, "record.evaluator", _MAX_OBJECT_CHARS)
    row = told.model_dump(exclude={"trace", "target"})
    row |= {"trace": "" if told.trace is None else trace, "target_json": told.target, "workload_id": line.workload.id}
    return Entry(line.workload.model_dump(), row)


def _tell_left_out(raw: bytes) -> None:
    """Raise ValueError with what an export's last line says, if it is one."""
    try:
        told = LeftOut.model_validate_json(raw)
    except ValidationError:
        return
    raise ValueError(f"{told.left_out} records were left out when this was exported ({told.reason[:300]})") from None
