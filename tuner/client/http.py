"""The service over REST, typed: answers are models of ``tuner.schemas``, refusals the ``TunerError`` they were."""

from __future__ import annotations

import ipaddress
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, TypeAdapter

from tuner.errors import InvalidInput, NotFound, ServiceUnreachable, TunerError, all_error_classes
from tuner.schemas import (
    ArtifactCheck,
    ArtifactOut,
    BenchmarkOut,
    DeviceOut,
    Health,
    ImportOut,
    JobIn,
    JobOut,
    JobWorkloadOut,
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
)

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
_ERRORS = {cls.code: cls for cls in reversed(all_error_classes())}


class Client:
    """One service at ``url``, which asks for a ``token``. Safe to share between threads; use as a context manager or
    call ``close``.

    Raises InvalidInput when ``url`` is none. Every method raises the ``TunerError`` the service answered with,
    ``ServiceUnreachable``, or ``NotFound`` for an empty id.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout_sec: float = 30.0,
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A proxy from the environment can't reach this machine's own loopback.
        try:
            self._http = httpx.Client(
                base_url=self.url,
                headers=headers,
                transport=transport,
                timeout=timeout_sec,
                trust_env=not is_loopback(self.url),
            )
        except (ValueError, httpx.InvalidURL) as error:
            hint = "Give one such as http://127.0.0.1:8000 with --url."
            raise InvalidInput(f"{url!r} is no address of a service: {error}.", hint) from error

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drops the connections."""
        self._http.close()

    def page_url(self, path: str = "/") -> str:
        """A page of the dashboard, with what lets a browser in: for the eyes of the service's user alone."""
        return page_url(self.url, self._token, path)

    def health(self) -> Health:
        """Readiness with its checks; a service that is up but not ready answers too."""
        with self._errors():
            return _parsed(self._http.get("/readyz"), Health.model_validate)

    def service_id(self) -> str:
        """Whose service it is; empty of an earlier release's."""
        with self._errors():
            return _parsed(self._http.get("/healthz"), Health.model_validate).id

    def submit(self, wish: JobIn) -> JobOut:
        """Submits a job; should the answer get lost, once more under the same key, so that it is one."""
        body = json.dumps(wish.model_dump(exclude_none=True))  # NaN too, which the service refuses by name
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        try:
            return self._one(JobOut, "POST", "/v1/jobs", content=body, headers=headers)
        except ServiceUnreachable:
            return self._one(JobOut, "POST", "/v1/jobs", content=body, headers=headers)

    def jobs(
        self, state: str | None = None, model: str | None = None, limit: int = 50, offset: int = 0
    ) -> Page[JobOut]:
        """Jobs, the newest first."""
        return self._page(JobOut, "/v1/jobs", state=state, model=model, limit=limit, offset=offset)

    def job(self, job_id: str) -> JobOut:
        """One job."""
        return self._one(JobOut, "GET", _path("jobs", job_id))

    def workloads(self, job_id: str) -> list[JobWorkloadOut]:
        """The workloads of a job in the order the model first uses them."""
        return self._list(JobWorkloadOut, _path("jobs", job_id, "workloads"))

    def evidence(self, job_id: str) -> dict[str, Any]:
        """The manifest of a job's module as the job made and measured it; empty before it has one."""
        response = self.request("GET", _path("jobs", job_id, "evidence"))
        return _parsed(response, TypeAdapter(dict[str, Any]).validate_python)

    def cancel(self, job_id: str) -> JobOut:
        """Asks for a job's end; it ends between two rounds."""
        return self._one(JobOut, "POST", _path("jobs", job_id, "cancel"))

    def pause(self, job_id: str) -> JobOut:
        """Asks a tuning job to wait."""
        return self._one(JobOut, "POST", _path("jobs", job_id, "pause"))

    def resume(self, job_id: str) -> JobOut:
        """Lets a paused job go on."""
        return self._one(JobOut, "POST", _path("jobs", job_id, "resume"))

    def delete(self, job_id: str) -> None:
        """Deletes a job that has ended; its records stay."""
        self.request("DELETE", _path("jobs", job_id))

    def benchmarks(self, job_id: str) -> list[BenchmarkOut]:
        """The variants of a job's comparison with PyTorch."""
        return self._page(BenchmarkOut, "/v1/benchmarks", job_id=job_id, limit=100).items

    def artifacts(self, job_id: str | None = None, limit: int = 50) -> Page[ArtifactOut]:
        """Artifacts, the newest first."""
        return self._page(ArtifactOut, "/v1/artifacts", job_id=job_id, limit=limit)

    def artifact(self, artifact_id: str) -> ArtifactOut:
        """One artifact with its manifest."""
        return self._one(ArtifactOut, "GET", _path("artifacts", artifact_id))

    def verify_artifact(self, artifact_id: str) -> ArtifactCheck:
        """Does the stored file still match its manifest?"""
        return self._one(ArtifactCheck, "POST", _path("artifacts", artifact_id, "verify"))

    def models(self, limit: int = 100) -> Page[ModelOut]:
        """Models the service knows."""
        return self._page(ModelOut, "/v1/models", limit=limit)

    def add_model(self, model: ModelIn) -> ModelOut:
        """Adds a preset, a hub id or a folder on the service's machine."""
        return self._one(ModelOut, "POST", "/v1/models", json=model.model_dump(exclude_none=True))

    def add_operator(self, operator: OperatorIn) -> ModelOut:
        """Adds an operator of the user's own; its name is the model to submit."""
        return self._one(ModelOut, "POST", "/v1/operators", json=operator.model_dump())

    def targets(self) -> list[TargetOut]:
        """What can be tuned for."""
        return self._list(TargetOut, "/v1/targets")

    def devices(self) -> list[DeviceOut]:
        """Devices as last seen."""
        return self._list(DeviceOut, "/v1/devices")

    def records(self, limit: int = 50, **filters: str | bool | None) -> Page[RecordOut]:
        """Records, by ``workload_id``, ``target_family``, ``job_id``, ``failed``."""
        return self._page(RecordOut, "/v1/records", limit=limit, **filters)

    def forget_records(self, failed: bool = False, **filters: str | None) -> RecordsChanged:
        """Deletes records, by ``workload_id``, ``target_family``, ``job_id``."""
        return self._one(RecordsChanged, "DELETE", "/v1/records", params={**_given(filters), "failed": failed})

    def reopen_records(self, **filters: str | None) -> RecordsChanged:
        """Lets failed candidates be tried again, by ``workload_id``, ``target_family``, ``job_id``."""
        return self._one(RecordsChanged, "POST", "/v1/records/reopen", params=_given(filters))

    def import_records(self, name: str, content: bytes) -> ImportOut:
        """Adds the records of a log; damaged lines are counted, the rest is kept."""
        return self._one(ImportOut, "POST", "/v1/records/import", files={"file": (name, content)}, timeout=600.0)

    def tokens(self) -> list[TokenOut]:
        """Tokens that have names, without what they are."""
        return self._list(TokenOut, "/v1/tokens")

    def add_token(self, wish: TokenIn) -> TokenNew:
        """Makes a token; the answer alone tells it."""
        return self._one(TokenNew, "POST", "/v1/tokens", json=wish.model_dump())

    def revoke_token(self, name: str) -> None:
        """Ends a token."""
        self.request("DELETE", _path("tokens", name))

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; raises what the service refused with."""
        with self._errors():
            response = self._http.request(method, path, **options)
        raise_refusal(response)
        return response

    @contextmanager
    def stream(self, path: str, read_timeout_sec: float = 60.0, **options: Any) -> Iterator[httpx.Response]:
        """A body that is read as it comes; a break of the connection raises ``ServiceUnreachable`` too."""
        timeout = httpx.Timeout(30.0, read=read_timeout_sec)
        with self._errors(), self._http.stream("GET", path, timeout=timeout, **options) as response:
            if response.is_error:
                response.read()
            raise_refusal(response)
            yield response

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise ServiceUnreachable(
                f"No service answers at {self.url} ({error or type(error).__name__}).",
                "Start it with `tunesmith serve`, or name another with --url.",
            ) from error

    def _one(self, kind: type[M], method: str, path: str, **options: Any) -> M:
        return _parsed(self.request(method, path, **options), kind.model_validate)

    def _list(self, kind: type[M], path: str) -> list[M]:
        items = TypeAdapter(list[kind])  # type: ignore[valid-type]
        return _parsed(self.request("GET", path), items.validate_python)

    def _page(self, kind: type[M], path: str, **params: Any) -> Page[M]:
        return _parsed(self.request("GET", path, params=_given(params)), Page[kind].model_validate)  # type: ignore[valid-type]


def raise_refusal(response: httpx.Response) -> None:
    """Raises the ``TunerError`` that an error answer carries; an answer in another shape is not our service's."""
    if response.is_success:
        return
    try:
        error = response.json()["error"]
        cls, message, hint = _ERRORS.get(error["code"], TunerError), error["message"], error.get("hint", "")
    except (ValueError, KeyError, TypeError):
        raise _strange(response) from None
    raise cls(message, hint)


def _parsed(response: httpx.Response, parse: Callable[[Any], T]) -> T:
    """What ``parse`` makes of an answer's JSON; an answer in another shape is not our service's."""
    try:
        return parse(response.json())
    except ValueError as error:  # no JSON, or none of that model
        raise _strange(response) from error


def _strange(response: httpx.Response) -> ServiceUnreachable:
    return ServiceUnreachable(
        f"{response.request.url} answered {response.status_code} in a shape that is not TuneSmith's.",
        "Check the address given with --url, and that the service there is of this version.",
    )


def _path(things: str, thing_id: str, action: str = "") -> str:
    """``/v1/jobs/ID/action``; an empty id would name all of them."""
    if not thing_id:
        raise NotFound(f"No id was given: one of the {things} was asked for.", f"List them with `tunesmith {things}`.")
    return f"/v1/{things}/{quote(thing_id, safe='')}" + (f"/{action}" if action else "")


def _given(filters: Mapping[str, T | None]) -> dict[str, T]:
    return {key: value for key, value in filters.items() if value is not None}


def page_url(url: str, token: str | None, path: str = "/") -> str:
    """A page of the dashboard at ``url``; the service takes the token out of the address as soon as it is opened."""
    return url + path + (f"?token={quote(token, safe='')}" if token else "")


def is_loopback(url: str) -> bool:
    """Does the address name this very machine?"""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
