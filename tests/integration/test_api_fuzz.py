"""Whatever is asked of the REST API, it answers as its own document says, and only whom it should."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlmodel import SQLModel, select

from api.scopes import needed
from tests.support import seed_db
from tests.support.uploading import MODEL, declared
from tests.support.web import Web, serve
from tuner.db import tokens
from tuner.db.engine import read, write
from tuner.db.models import Artifact, Job, Model, Upload
from tuner.schemas import SCOPES, UploadIn
from tuner.tokens import allows, digest
from tuner.uploads.desk import Desk, Sender

STREAM = "/v1/events"  # has no end
CHECKS = (status_code_conformance, content_type_conformance, response_schema_conformance)
ANSWERS = {*range(200, 500), 503, 507} - {401, 403}  # the last ones: not ready, or come back in a moment; no room
TIMEOUT_SEC = 60.0


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A served app whose database has jobs, records and artifacts, and a token of each scope."""
    with serve(tmp_path_factory.mktemp("fuzzed")) as web:
        refill(web)
        with write(web.engine) as session:
            for scope in SCOPES:
                tokens.add(session, f"a-{scope}", scope, digest(f"token-for-{scope}"))
        yield web


def refill(web: Web) -> None:
    """What lies in the database but its tokens is as in the beginning."""
    with write(web.engine) as session:
        for table in reversed(SQLModel.metadata.sorted_tables):
            if table.name not in ("identity", "token"):
                session.execute(table.delete())
        seed_db.everything(session)
    Desk(web.settings, web.engine).begin(Sender("", "admin"), UploadIn.model_validate(declared(MODEL)))


@pytest.fixture(scope="module")
def schema(web: Web) -> Any:
    """What the app says of itself."""
    found = schemathesis.openapi.from_dict(web.get("/openapi.json").json())
    found.config.update(base_url=web.url)
    found.config.generation.update(with_security_parameters=False)  # tokens are shown by us
    return found


def operations(schema: Any) -> Iterator[APIOperation]:
    for found in schema.get_all_operations():
        yield found.ok()


def test_the_whole_api_keeps_to_its_document_and_lets_in_whom_it_should(web: Web, schema: Any) -> None:
    asked = 0
    for operation in operations(schema):
        right, wrong = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

        @given(case=right | wrong if _takes_anything(operation) else right)
        def ask(case: Any) -> None:
            _refused_without_scope(case)
            if case.operation.path == STREAM:
                _begins(case, web)
            else:
                answer = case.call(headers=web.headers, timeout=TIMEOUT_SEC)
                assert answer.status_code in ANSWERS, answer.text
                case.validate_response(answer, checks=CHECKS)

        ask()
        asked += 1
    assert asked > 30


def _takes_anything(operation: APIOperation) -> bool:
    """Can it be asked wrongly?"""
    return any(True for _ in operation.iter_parameters()) or bool(len(operation.body))


def _refused_without_scope(case: Any) -> None:
    """Who shows no token, or one of too small a scope, gets nothing."""
    scope = needed(case.operation.method.upper(), case.operation.path)
    if scope is None:
        return
    assert _status(case, {}) == 401
    for has in SCOPES:
        if not allows(has, scope):
            assert _status(case, {"Authorization": f"Bearer token-for-{has}"}) == 403


def _status(case: Any, headers: dict[str, str]) -> int:
    return int(case.call(headers=headers, timeout=TIMEOUT_SEC).status_code)


def _begins(case: Any, web: Web) -> None:
    """A stream is only begun."""
    request = case.as_transport_kwargs(base_url=web.url, headers=web.headers)
    with requests.request(**request, stream=True, timeout=TIMEOUT_SEC) as answer:
        assert answer.status_code in (200, 404, 422), answer.text


def test_what_is_there_is_steered_and_shown_as_the_document_says(web: Web, schema: Any) -> None:
    met: set[tuple[str, int]] = set()
    for operation in operations(schema):
        names = {parameter.name for parameter in operation.path_parameters} & set(known(web))
        if names:
            refill(web)
            met |= _ask_of_what_is_there(web, operation, names)
    done = {label for label, status in met if status < 300}
    assert done > {"GET /v1/jobs/{job_id}", "POST /v1/jobs/{job_id}/cancel", "DELETE /v1/jobs/{job_id}"}


def known(web: Web) -> dict[str, list[str]]:
    """What path parameters may name, as things stand."""
    with read(web.engine) as session:
        tables = {"job_id": Job, "artifact_id": Artifact, "model_id": Model, "upload_id": Upload}
        return {name: sorted(session.exec(select(table.id)).all()) for name, table in tables.items()}


def _ask_of_what_is_there(web: Web, operation: APIOperation, names: set[str]) -> set[tuple[str, int]]:
    """One request after another, each to what those before it have left; returns what was answered."""
    met = set()

    @given(case=operation.as_strategy(), number=st.integers(0, 99))
    def ask(case: Any, number: int) -> None:
        there = known(web)
        for name in names:
            if there[name]:
                case.path_parameters[name] = there[name][number % len(there[name])]
        answer = case.call(headers=web.headers, timeout=TIMEOUT_SEC)
        met.add((operation.label, answer.status_code))
        assert answer.status_code in ANSWERS, answer.text
        case.validate_response(answer, checks=CHECKS)

    ask()
    return met
