"""What can be asked of the service over REST: requests as values, each with what its answer means. Pure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter

from tuner.errors import NotFound
from tuner.schemas import (
    ArtifactCheck,
    ArtifactOut,
    BenchmarkOut,
    CandidateOut,
    DeviceCheckIn,
    DeviceCheckOut,
    DeviceOut,
    FailureOut,
    Health,
    HistoryPoint,
    ImportOut,
    JobIn,
    JobOut,
    JobsCompared,
    JobWorkloadOut,
    KernelOut,
    ModelIn,
    ModelOut,
    OperatorIn,
    Page,
    RecordOut,
    RecordsChanged,
    TargetOut,
    TokenIn,
    TokenNew,
    TokenOut,
    UploadIn,
    UploadOut,
)

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
_IMPORT_SEC = 600.0
_PART_SEC = 300.0
_CHECK_SEC = 3600.0


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request: ``options`` are httpx's, ``parse`` makes the answer's JSON a value.

    One that ``repeats`` does the same when it is sent twice; one ``of_refusals`` has an answer in every error too.
    """

    method: str
    path: str
    parse: Callable[[Any], T]
    options: Mapping[str, Any] = field(default_factory=dict)
    of_refusals: bool = False
    keyed: bool = False

    @property
    def repeats(self) -> bool:
        """May it be sent again when nobody knows whether it arrived?"""
        return self.keyed or self.method == "GET"


def health() -> Call[Health]:
    return Call("GET", "/readyz", Health.model_validate, of_refusals=True)


def liveness() -> Call[Health]:
    return Call("GET", "/healthz", Health.model_validate, of_refusals=True)


def submit(wish: JobIn) -> Call[JobOut]:
    """Under a key of its own, so that it is one job however often it is sent."""
    body = json.dumps(wish.model_dump(exclude_none=True))  # NaN too, which the service refuses by name
    headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
    return Call("POST", "/v1/jobs", JobOut.model_validate, {"content": body, "headers": headers}, keyed=True)


def jobs(state: str | None, model: str | None, limit: int, offset: int) -> Call[Page[JobOut]]:
    return _page(JobOut, "/v1/jobs", state=state, model=model, limit=limit, offset=offset)


def job(job_id: str) -> Call[JobOut]:
    return Call("GET", _path("jobs", job_id), JobOut.model_validate)


def workloads(job_id: str) -> Call[list[JobWorkloadOut]]:
    return _list(JobWorkloadOut, _path("jobs", job_id, "workloads"))


def kernel(job_id: str, workload_id: str) -> Call[KernelOut]:
    return Call("GET", _path("jobs", job_id, f"workloads/{quote(workload_id, safe='')}"), KernelOut.model_validate)


def failures(job_id: str) -> Call[list[FailureOut]]:
    return _list(FailureOut, _path("jobs", job_id, "failures"))


def candidate(job_id: str, name: str) -> Call[CandidateOut]:
    return Call("GET", _path("jobs", job_id, f"candidates/{quote(name, safe='')}"), CandidateOut.model_validate)


def evidence(job_id: str) -> Call[dict[str, Any]]:
    return Call("GET", _path("jobs", job_id, "evidence"), TypeAdapter(dict[str, Any]).validate_python)


def steer(job_id: str, action: str) -> Call[JobOut]:
    """Asks a job to ``cancel``, ``pause`` or ``resume``."""
    return Call("POST", _path("jobs", job_id, action), JobOut.model_validate)


def delete_job(job_id: str) -> Call[None]:
    return _nothing("DELETE", _path("jobs", job_id))


def benchmarks(job_id: str) -> Call[Page[BenchmarkOut]]:
    return _page(BenchmarkOut, "/v1/benchmarks", job_id=job_id, limit=100)


def history(model: str, target: str | None, limit: int) -> Call[list[HistoryPoint]]:
    params = _given({"model": model, "target": target, "limit": limit})
    return Call("GET", "/v1/history", TypeAdapter(list[HistoryPoint]).validate_python, {"params": params})


def compare(job_ids: Sequence[str]) -> Call[JobsCompared]:
    return Call("GET", "/v1/compare", JobsCompared.model_validate, {"params": {"job_id": list(job_ids)}})


def artifacts(job_id: str | None, limit: int) -> Call[Page[ArtifactOut]]:
    return _page(ArtifactOut, "/v1/artifacts", job_id=job_id, limit=limit)


def artifact(artifact_id: str) -> Call[ArtifactOut]:
    return Call("GET", _path("artifacts", artifact_id), ArtifactOut.model_validate)


def verify_artifact(artifact_id: str) -> Call[ArtifactCheck]:
    return Call("POST", _path("artifacts", artifact_id, "verify"), ArtifactCheck.model_validate)


def check_artifact(artifact_id: str, device: str) -> Call[DeviceCheckOut]:
    body = DeviceCheckIn(device=device).model_dump()
    return Call("POST", _path("artifacts", artifact_id, "check"), DeviceCheckOut.model_validate, {"json": body})


def models(limit: int) -> Call[Page[ModelOut]]:
    return _page(ModelOut, "/v1/models", limit=limit)


def add_model(model: ModelIn) -> Call[ModelOut]:
    return Call("POST", "/v1/models", ModelOut.model_validate, {"json": model.model_dump(exclude_none=True)})


def add_operator(operator: OperatorIn) -> Call[ModelOut]:
    return Call("POST", "/v1/operators", ModelOut.model_validate, {"json": operator.model_dump()})


def targets() -> Call[list[TargetOut]]:
    return _list(TargetOut, "/v1/targets")


def devices() -> Call[list[DeviceOut]]:
    return _list(DeviceOut, "/v1/devices")


def records(limit: int, **filters: str | bool | None) -> Call[Page[RecordOut]]:
    return _page(RecordOut, "/v1/records", limit=limit, **filters)


def forget_records(failed: bool, **filters: str | None) -> Call[RecordsChanged]:
    params = {**_given(filters), "failed": failed}
    return Call("DELETE", "/v1/records", RecordsChanged.model_validate, {"params": params})


def reopen_records(**filters: str | None) -> Call[RecordsChanged]:
    return Call("POST", "/v1/records/reopen", RecordsChanged.model_validate, {"params": _given(filters)})


def import_records(name: str, content: bytes) -> Call[ImportOut]:
    """A record that is known is counted, not stored twice: it may be sent again."""
    options = {"files": {"file": (name, content)}, "timeout": _IMPORT_SEC}
    return Call("POST", "/v1/records/import", ImportOut.model_validate, options, keyed=True)


def tokens() -> Call[list[TokenOut]]:
    return _list(TokenOut, "/v1/tokens")


def add_token(wish: TokenIn) -> Call[TokenNew]:
    return Call("POST", "/v1/tokens", TokenNew.model_validate, {"json": wish.model_dump()})


def revoke_token(name: str) -> Call[None]:
    return _nothing("DELETE", _path("tokens", name))


def begin_upload(wish: UploadIn) -> Call[UploadOut]:
    """The same files are the same upload: it may be sent again."""
    return Call("POST", "/v1/uploads", UploadOut.model_validate, {"json": wish.model_dump()}, keyed=True)


def send_part(upload_id: str, path: str, content: bytes, offset: int) -> Call[None]:
    headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
    options = {"content": content, "headers": headers, "timeout": _PART_SEC}
    return Call("PUT", _path("uploads", upload_id, f"files/{quote(path)}"), lambda answer: None, options)


def complete_upload(upload_id: str) -> Call[UploadOut]:
    """One that is complete stays so: it may be sent again."""
    path = _path("uploads", upload_id, "complete")
    return Call("POST", path, UploadOut.model_validate, {"timeout": _CHECK_SEC}, keyed=True)


def uploads(limit: int) -> Call[Page[UploadOut]]:
    return _page(UploadOut, "/v1/uploads", limit=limit)


def upload(name: str) -> Call[UploadOut]:
    return Call("GET", _path("uploads", name), UploadOut.model_validate)


def delete_upload(name: str) -> Call[None]:
    return _nothing("DELETE", _path("uploads", name))


def _list(kind: type[M], path: str) -> Call[list[M]]:
    return Call("GET", path, TypeAdapter(list[kind]).validate_python)  # type: ignore[valid-type]


def _page(kind: type[M], path: str, **params: Any) -> Call[Page[M]]:
    return Call("GET", path, Page[kind].model_validate, {"params": _given(params)})  # type: ignore[valid-type]


def _nothing(method: str, path: str) -> Call[None]:
    return Call(method, path, lambda answer: None)


def _path(things: str, thing_id: str, action: str = "") -> str:
    """``/v1/jobs/ID/action``; an empty id would name all of them."""
    if not thing_id:
        raise NotFound(f"No id was given: one of the {things} was asked for.", f"List them with `tunesmith {things}`.")
    return f"/v1/{things}/{quote(thing_id, safe='')}" + (f"/{action}" if action else "")


def _given(filters: Mapping[str, T | None]) -> dict[str, T]:
    return {key: value for key, value in filters.items() if value is not None}
