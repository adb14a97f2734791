"""The app is behind the check of hosts, and no route is before it."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from tuner.config import Settings


@pytest.mark.parametrize("path", ["/", "/healthz", "/static/favicon.svg", "/v1/records/export", "/openapi.json"])
def test_a_page_that_lets_its_name_lead_to_a_container_gets_nothing(settings: Settings, path: str) -> None:
    app = create_app(settings.model_copy(update={"host": "0.0.0.0"}))  # as its image listens
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.get(path, headers={"host": "evil.example:8000", "sec-fetch-site": "same-origin"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "host_unknown")
