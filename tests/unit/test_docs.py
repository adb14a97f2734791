"""The reference pages say all there is, and nothing that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from api.app import create_app
from api.scopes import needed
from tests.support.manifests import manifest_fields
from tuner.cli.main import app
from tuner.config import Settings
from tuner.errors import all_error_classes

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCS_PAGES = sorted(f"docs/{path.name}" for path in DOCS.glob("*.md"))


def first_cells(page: str) -> list[list[str]]:
    """Cells of each table row of a page whose first cell is code."""
    rows = re.findall(r"^\| `.*\|$", (DOCS / page).read_text(), re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that can be given, by its full name."""
    inner = getattr(command, "commands", None)
    if inner is None or command.invoke_without_command:
        yield name, command
    if inner is not None:
        for word, sub in inner.items():
            yield from commands(sub, f"{name} {word}")


COMMANDS = dict(commands(typer.main.get_command(app), "tunesmith"))


def test_every_setting_is_documented_and_no_other() -> None:
    documented = {cells[0].strip("`") for cells in first_cells("settings.md")}
    assert documented == {f"TUNER_{name.upper()}" for name in Settings.model_fields}


def test_plain_defaults_of_settings_are_the_true_ones() -> None:
    for name, default, _ in first_cells("settings.md"):
        field = Settings.model_fields[name.strip("`").removeprefix("TUNER_").lower()]
        if field.default is not None and (value := re.match(r"`(.+?)`", default)):
            assert type(field.default)(value[1]) == field.default, name


def test_fields_of_a_manifest_that_are_documented_are_written() -> None:
    source = "".join(path.read_text() for path in (ROOT / "tuner").rglob("*.py"))
    assert {name for name in manifest_fields() if f'"{name}"' not in source} == set()


def test_every_error_code_is_documented_with_its_status() -> None:
    documented = {(cells[0].strip("`"), int(cells[1])) for cells in first_cells("errors.md")}
    assert documented == {(cls.code, cls.status) for cls in all_error_classes()}


def test_every_route_is_documented_and_no_other(settings: Settings) -> None:
    paths = create_app(settings).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    said = {cells[0].strip("`"): cells[1] for cells in first_cells("rest.md") if " /" in cells[0]}
    assert set(said) == routes
    assert said == {route: str(needed(*route.split(" "))).lower() for route in routes}


@pytest.mark.parametrize("page", ["README.md", *DOCS_PAGES])
def test_every_example_that_needs_a_token_shows_it(page: str) -> None:
    text = (ROOT / page).read_text().replace("\\\n", " ")
    calls = [line for line in text.splitlines() if line.startswith("curl ") and "/v1/" in line]
    assert [call for call in calls if '-H "Authorization: Bearer $' not in call] == []


def test_every_command_is_documented_and_no_other() -> None:
    headings = re.findall(r"^### (tunesmith [a-z -]*[a-z])", (DOCS / "cli.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented_at_its_command(name: str) -> None:
    sections = re.split(r"^### ", (DOCS / "cli.md").read_text(), flags=re.MULTILINE)
    section = next(s for s in sections if re.match(rf"{name}( [A-Z]|$)", s, re.MULTILINE))
    options = {
        option for param in COMMANDS[name].params for option in (*param.opts, *param.secondary_opts) if option[0] == "-"
    }
    assert set(re.findall(r"`(--?[a-z][a-z-]*)", section)) == options


@pytest.mark.parametrize("page", ["README.md", *DOCS_PAGES])
def test_commands_that_pages_show_have_the_options_they_are_given(page: str) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text().replace("\\\n", " "), re.MULTILINE | re.DOTALL)
    shown = [line.split("  #")[0] for block in blocks for line in block.splitlines() if line.startswith("tunesmith ")]
    for line in shown:
        name = max((name for name in COMMANDS if f"{line} ".startswith(f"{name} ")), key=len)
        known = {option for param in COMMANDS[name].params for option in (*param.opts, *param.secondary_opts)}
        assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", line)) <= known, line


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", *DOCS_PAGES])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    source = ROOT / page
    for link in re.findall(r"\]\(([^)#\s]+)", source.read_text()):
        if "://" not in link:
            assert (source.parent / link).exists(), link


def test_make_targets_that_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        assert set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", page.read_text(), re.MULTILINE)) <= targets


def test_the_light_agent_is_installed_at_the_pins_of_the_rest() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (extra,) = re.findall(r"^agent = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    wanted = re.findall(r'"(.+?)"', extra)
    assert [line for line in wanted if project.count(f'    "{line}",') < 2] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", *DOCS_PAGES])
def test_no_page_takes_this_project_from_an_index(page: str) -> None:
    text = (ROOT / page).read_text()
    assert re.findall(r"pip3? install [^\n]*(?<![\w/.-])tunesmith(?![\w/.-])[^\n]*", text) == []


def test_each_promise_names_a_test_that_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/reliability.md").read_text()))
    source = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert named - set(re.findall(r"def (test_\w+)\(", source)) == set()
