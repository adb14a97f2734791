"""``import tunesmith``: what it offers, and how little it costs before it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources

import pytest

import tuner.schemas
import tunesmith
from tests.support.processes import patience
from tuner.client.aio import AsyncClient
from tuner.client.http import Client
from tuner.errors import all_error_classes
from tunesmith import errors, schemas

PUBLIC = ["Artifact", "ArtifactError", "AsyncClient", "Client", "TunerError", "errors", "load", "optimize", "schemas"]
HEAVY = ("httpx", "numpy", "pydantic", "rich", "sqlalchemy", "torch", "transformers", "tvm", "typer")


def test_the_public_surface_is_this() -> None:
    assert tunesmith.__all__ == dir(tunesmith) == PUBLIC
    assert [name for name in PUBLIC if getattr(tunesmith, name, None) is None] == []


def test_what_is_not_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        tunesmith.lode  # noqa: B018


def test_the_clients_are_those_of_the_command_line() -> None:
    assert tunesmith.Client is Client
    assert tunesmith.AsyncClient is AsyncClient


def test_errors_and_schemas_are_those_of_the_service() -> None:
    assert schemas.JobIn is tuner.schemas.JobIn
    assert [cls for cls in all_error_classes() if getattr(errors, cls.__name__) is not cls] == []


def test_types_are_told_to_checkers() -> None:
    assert (resources.files("tunesmith") / "py.typed").is_file()


def test_importing_it_loads_nothing_heavy() -> None:
    script = f"import sys, tunesmith; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=patience(60)
    )
    assert done.stdout.strip() == "[]"


def test_a_client_loads_neither_tvm_nor_torch() -> None:
    script = (
        "import sys, tunesmith; tunesmith.Client, tunesmith.AsyncClient; print({'tvm', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=patience(60)
    )
    assert done.stdout.strip() == "set()"
