"""The container's files, checked without an engine: they parse, fit each other, and install as a checkout does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuner.config import Settings

ROOT = Path(__file__).parents[2]
INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "ARG", "USER", "ENV", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """Instructions and their arguments, continued lines joined."""
    text = (ROOT / "docker" / "Dockerfile").read_text()
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    return content


def arguments(dockerfile: list[tuple[str, str]], instruction: str) -> list[str]:
    return [rest for name, rest in dockerfile if name == instruction]


def test_dockerfile_has_known_instructions_from_a_base_on(dockerfile: list[tuple[str, str]]) -> None:
    assert {name for name, _ in dockerfile} == INSTRUCTIONS
    assert dockerfile[0] == ("FROM", "python:3.11-slim")


def test_python_packages_come_from_make_install_alone(dockerfile: list[tuple[str, str]]) -> None:
    runs = arguments(dockerfile, "RUN")
    assert [run for run in runs if run.startswith("make install ")]
    assert not [run for run in runs if re.search(r"\bpip3? install", run)]


def test_extras_of_the_image_exist(dockerfile: list[tuple[str, str]]) -> None:
    (extras,) = re.findall(r"EXTRAS=(\S*)", " ".join(arguments(dockerfile, "RUN")))
    declared = re.findall(r"^([a-z]+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert extras in declared


def test_service_runs_as_a_user_of_its_own(dockerfile: list[tuple[str, str]]) -> None:
    (user,) = arguments(dockerfile, "USER")
    assert user != "root"
    assert any(f"useradd --create-home {user}" in run for run in arguments(dockerfile, "RUN"))
    names = [name for name, _ in dockerfile]
    assert names.index("USER") < names.index("CMD")


def test_settings_of_the_image_are_settings_of_the_service(dockerfile: list[tuple[str, str]]) -> None:
    env = dict(re.findall(r"TUNER_(\w+)=(\S+)", " ".join(arguments(dockerfile, "ENV"))))
    settings = Settings(**{name.lower(): value for name, value in env.items()})
    assert set(map(str.lower, env)) <= set(Settings.model_fields)
    assert [str(settings.port)] == arguments(dockerfile, "EXPOSE")
    assert [str(settings.data_dir)] == arguments(dockerfile, "VOLUME")


def test_health_check_asks_readiness_at_the_exposed_port(dockerfile: list[tuple[str, str]]) -> None:
    (check,) = arguments(dockerfile, "HEALTHCHECK")
    command = json.loads(check[check.index("CMD ") + 4 :])
    (port,) = arguments(dockerfile, "EXPOSE")
    assert f"http://127.0.0.1:{port}/readyz" in command[-1]
    compile(command[-1], "HEALTHCHECK", "exec")


def test_compose_builds_this_dockerfile_with_arguments_it_takes(
    dockerfile: list[tuple[str, str]], compose: dict[str, Any]
) -> None:
    build = compose["services"]["tunesmith"]["build"]
    assert ((ROOT / "docker" / build["context"]).resolve() / build["dockerfile"]).is_file()
    assert set(build["args"]) <= {argument.split("=")[0] for argument in arguments(dockerfile, "ARG")}


def test_compose_keeps_data_and_stays_on_loopback(dockerfile: list[tuple[str, str]], compose: dict[str, Any]) -> None:
    service = compose["services"]["tunesmith"]
    (volume,) = arguments(dockerfile, "VOLUME")
    assert service["volumes"] == [f"data:{volume}"]
    assert "data" in compose["volumes"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert {f"TUNER_{name.upper()}" for name in Settings.model_fields} >= set(service["environment"])


def test_compose_gives_the_service_an_init_that_buries_orphans(compose: dict[str, Any]) -> None:
    assert compose["services"]["tunesmith"]["init"] is True


def test_postgres_is_an_option_that_the_service_does_without(compose: dict[str, Any]) -> None:
    assert compose["services"]["postgres"]["profiles"] == ["postgres"]
    assert compose["services"]["tunesmith"]["depends_on"]["postgres"]["required"] is False
