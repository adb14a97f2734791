"""Nobody gets in without a token that allows what he asks for, by whichever route."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from api.app import create_app
from api.scopes import needed
from tests.support.rest import owners_headers, talking_to
from tuner.config import Settings
from tuner.db import tokens
from tuner.db.engine import write
from tuner.errors import InvalidInput
from tuner.schemas import SCOPES, TokenScope
from tuner.tokens import allows, digest, own_token

OPEN = {"/healthz", "/readyz", "/static", "/login"}
SUBMIT = {
    f"POST /v1/{what}"
    for what in (
        *("jobs", "jobs/{job_id}/cancel", "jobs/{job_id}/pause", "jobs/{job_id}/resume", "models", "operators"),
        *("records/import", "records/reopen", "artifacts/{artifact_id}/verify", "artifacts/{artifact_id}/check"),
        *("uploads", "uploads/{upload_id}/complete"),
    )
} | {"PUT /v1/uploads/{upload_id}/files/{path}", "DELETE /v1/uploads/{upload_id}"}
ADMIN = {
    *("DELETE /v1/jobs/{job_id}", "DELETE /v1/records"),
    *("GET /v1/tokens", "POST /v1/tokens", "DELETE /v1/tokens/{name}"),
}


def routes(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of everything that can be asked."""
    return {
        (method, (context.path or "").replace(":path}", "}"))
        for context in iter_route_contexts(app.routes)
        for method in getattr(context, "methods", None) or {"GET"}
    }


@pytest.fixture
def app(settings: Settings, engine: Engine) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def anybody(app: FastAPI) -> Iterator[TestClient]:
    """Talks to the app and shows no token."""
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def shown(engine: Engine) -> dict[TokenScope, dict[str, str]]:
    """The header of a token of each scope."""
    with write(engine) as session:
        for scope in SCOPES:
            tokens.add(session, f"a-{scope}", scope, digest(f"token-for-{scope}"))
    return {scope: {"Authorization": f"Bearer token-for-{scope}"} for scope in SCOPES}


def ask(client: TestClient, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and error code of a route asked about things that are not there."""
    url = re.sub(r"\{\w+\}", "none", path)
    params = {"job_id": "none"} if path == "/v1/events" else {}
    answer = client.request(method, url, params=params, headers=headers)
    is_json = method != "HEAD" and answer.headers.get("content-type") == "application/json"
    body = answer.json() if is_json else {}
    return answer.status_code, body.get("error", {}).get("code", "") if isinstance(body, dict) else ""


def test_every_route_needs_what_it_should(app: FastAPI) -> None:
    for method, path in routes(app):
        name = f"{method} {path}"
        scope = "admin" if name in ADMIN else "submit" if name in SUBMIT else "read"
        asked = "/static/x" if path == "/static" else path
        assert needed(method, asked) == (None if path in OPEN else scope), name
    assert {f"{method} {path}" for method, path in routes(app)} > SUBMIT | ADMIN


def test_no_route_but_the_open_ones_is_reached_without_the_scope_it_needs(
    app: FastAPI, anybody: TestClient, shown: dict[TokenScope, dict[str, str]]
) -> None:
    found = routes(app)
    assert len(found) > 35
    for method, path in found - {("GET", "/static")}:
        scope = needed(method, path)
        status, code = ask(anybody, method, path)
        if scope is None:
            assert status not in (401, 403), path
            continue
        assert status == 401, (method, path)
        assert method == "HEAD" or code == "token_needed", (method, path)
        for has in SCOPES:
            status, code = ask(anybody, method, path, shown[has])
            if allows(has, scope):
                assert status not in (401, 403), (method, path, has)
            else:
                assert (status, code) == (403, "scope_missing"), (method, path, has)


@pytest.mark.parametrize(
    "path",
    ["/v1/tokens%0A", "/v1/tokens/", "//v1/tokens", "/v1//tokens", "/static/../v1/tokens", "/static/..%2Fv1/tokens",
     "/healthz/../v1/tokens", "/healthz%2F..%2Fv1%2Ftokens", "/V1/tokens", "/v1/tokens;x", "/v1/tokens%00"],
)  # fmt: skip
def test_no_spelling_of_a_path_leads_around(
    anybody: TestClient, shown: dict[TokenScope, dict[str, str]], path: str
) -> None:
    for headers in ({}, shown["read"]):
        answer = anybody.get(path, headers=headers)
        assert answer.status_code in (401, 403, 404), path
        assert "a-admin" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer \xff\xfe"},
        {"Authorization": "token-for-admin"},
        {"Cookie": "tunesmith-80=wrong"},
        {"Cookie": "tunesmith-8000=token-for-admin"},
        {"Cookie": 'tunesmith-80="'},
    ],
)
def test_what_is_no_token_of_ours_is_refused_with_a_way_in(
    anybody: TestClient, shown: dict[TokenScope, dict[str, str]], headers: dict[str, str]
) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = anybody.get("/v1/jobs", headers=raw)  # type: ignore[arg-type]
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (401, "token_needed")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in error["hint"]
    assert "token-for-admin" not in answer.text


def test_the_data_directorys_own_token_may_do_everything(client: TestClient, settings: Settings) -> None:
    assert client.get("/v1/tokens").json() == []
    assert (settings.token_file.stat().st_mode & 0o777, settings.token_file.name) == (0o600, "token")
    assert client.get("/v1/jobs", headers={"Authorization": f"bearer {own_token(settings.token_file)}"}).is_success


def test_a_token_is_made_told_once_listed_without_it_and_ended(
    client: TestClient, anybody: TestClient, settings: Settings
) -> None:
    made = client.post("/v1/tokens", json={"name": "ci", "scope": "read"})
    token = made.json()["token"]
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    headers = {"Authorization": f"Bearer {token}"}
    assert anybody.get("/v1/jobs", headers=headers).status_code == 200
    refused = anybody.post("/v1/jobs", json={"model": "minilm-l6"}, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "scope_missing")
    assert "`submit`; ci is one for `read`" in refused.json()["error"]["message"]
    assert [(one["name"], one["scope"]) for one in client.get("/v1/tokens").json()] == [("ci", "read")]
    assert token not in client.get("/v1/tokens").text
    kept = b"".join(path.read_bytes() for path in settings.root.rglob("tunesmith.db*"))
    assert digest(token).encode() in kept
    assert token.encode() not in kept
    assert client.delete("/v1/tokens/ci").status_code == 204
    assert anybody.get("/v1/jobs", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "ci", "scope": "read"}, 409),
        ({"name": "", "scope": "read"}, 422),
        ({"name": "../x", "scope": "read"}, 422),
        ({"name": "x" * 65, "scope": "read"}, 422),
        ({"name": "ok", "scope": "root"}, 422),
    ],
)
def test_a_token_that_can_not_be_is_refused(client: TestClient, body: dict[str, str], status: int) -> None:
    client.post("/v1/tokens", json={"name": "ci", "scope": "submit"})
    assert client.post("/v1/tokens", json=body).status_code == status
    assert client.delete("/v1/tokens/nobody").status_code == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_says_no_more_than_its_status_to_a_stranger(client: TestClient, anybody: TestClient, path: str) -> None:
    whose = {"id"} if path == "/healthz" else set()  # of the data directory: commands look before they show a token
    assert set(anybody.get(path).json()) == {"status", *whose}
    assert set(anybody.get(path, headers={"Authorization": "Bearer wrong"}).json()) == {"status", *whose}
    assert set(client.get(path).json()) == {"status", "checks", "version", "place", *whose}


def test_health_is_told_while_tokens_can_not_be_looked_up(
    anybody: TestClient, settings: Settings, shown: dict[TokenScope, dict[str, str]]
) -> None:
    (settings.root / "tunesmith.db").rename(settings.root / "elsewhere")
    (settings.root / "tunesmith.db").mkdir()
    assert set(anybody.get("/healthz", headers=shown["read"]).json()) == {"status", "id"}
    answer = anybody.get("/v1/jobs", headers=shown["read"])
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "storage_failed"
    assert anybody.get("/healthz", headers=owners_headers(settings)).json()["checks"] == {"web": "ok"}


def test_where_nobody_is_asked_everybody_gets_in(settings: Settings) -> None:
    with talking_to(settings.model_copy(update={"auth": "none"})) as client:
        assert client.get("/v1/tokens").status_code == 200
        assert client.get("/").status_code == 200
        assert "checks" in client.get("/readyz").json()
    assert not settings.token_file.exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "lab.example"])
def test_beyond_loopback_somebody_is_asked(settings: Settings, host: str) -> None:
    with pytest.raises(InvalidInput, match=f"TUNER_AUTH=none.*{host}"):
        create_app(settings.model_copy(update={"auth": "none", "host": host}))
    assert not settings.root.exists()


def test_the_document_says_what_each_route_needs(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    said = {
        f"{method.upper()} {path}": operation.get("security", [{}])[0].get("token", [None])[0]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert {name for name, scope in said.items() if scope is None} == {"GET /healthz", "GET /readyz"}
    assert {name for name, scope in said.items() if scope == "submit"} == SUBMIT
    assert {name for name, scope in said.items() if scope == "admin"} == ADMIN
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
