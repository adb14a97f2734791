"""A command speaks with the service of its own data directory, whoever else listens where that did."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tuner.cli.whose import check_is_own
from tuner.client.http import Client
from tuner.config import Settings
from tuner.errors import ServiceUnreachable
from tuner.ownership import bind, claim


def service_of(settings: Settings | None) -> Client:
    """A service that tells this id, or is of a release that told none."""
    told = {"status": "ok", "checks": {}, "version": "1"} | ({"id": settings.root.name} if settings else {})
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=told))
    return Client("http://127.0.0.1:8000", transport=transport)


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path / "own")
    claim(settings)
    bind(settings, "own")
    return settings


def test_its_own_service_is_spoken_with(own: Settings) -> None:
    check_is_own(own, service_of(own))


@pytest.mark.parametrize("other", [Settings(data_dir=Path("/another")), None])
def test_anothers_is_not(own: Settings, other: Settings | None) -> None:
    with pytest.raises(ServiceUnreachable, match=f"is not that of {own.root}") as caught:
        check_is_own(own, service_of(other))
    assert "--url http://127.0.0.1:8000" in caught.value.hint


def test_who_has_no_data_directory_takes_whoever_answers(tmp_path: Path, own: Settings) -> None:
    check_is_own(Settings(data_dir=tmp_path / "nowhere"), service_of(own))
