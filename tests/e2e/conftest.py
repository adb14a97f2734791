"""A tiny model, and a service for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import SMALL_ROUNDS, Service, serving
from tests.support.tiny_models import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny", "distilbert")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the file's service."""
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def service_env() -> dict[str, str]:
    """Settings of the file's service."""
    return SMALL_ROUNDS


@pytest.fixture(scope="module")
def service(data_dir: Path, service_env: dict[str, str]) -> Iterator[Service]:
    with serving(data_dir, "--port", "0", **service_env) as started:
        yield started
