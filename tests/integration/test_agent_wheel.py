"""The lines that ``/agent/`` tells, as another machine pastes them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rpc.lifeline import child_env
from tests.support.processes import patience
from tests.support.web import Web, serve

IMPORTED = """
import sys
sys.path.insert(0, sys.argv[1])
import rpc.agent, tuner.cli.main
print(rpc.agent.__file__, tuner.cli.main.__file__)
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serve(tmp_path_factory.mktemp("served")) as web:
        yield web


def pasted(web: Web) -> str:
    """The line that installs."""
    (line,) = [line for line in web.get("/agent/").text.splitlines() if line.startswith("python3 -m pip install ")]
    return line


def installed(line: str, target: Path, token: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of the line, into an empty folder and without the packages of others."""
    here = line.replace("python3", sys.executable, 1)
    command = f"{here} --no-deps --no-compile --no-cache-dir --disable-pip-version-check --target {target}"
    env = {**child_env(), "TUNER_TOKEN": token}
    return subprocess.run(
        ["sh", "-c", command], cwd=target.parent, env=env, capture_output=True, text=True, check=False
    )


def test_the_pasted_line_installs_an_agent_that_imports(web: Web, tmp_path: Path) -> None:
    target = tmp_path / "there"
    done = installed(pasted(web), target, web.token)
    assert done.returncode == 0, done.stdout + done.stderr
    command = [sys.executable, "-c", IMPORTED, str(target)]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(target / "rpc/agent.py"), str(target / "tuner/cli/main.py")]
    assert (target / "bin/tunesmith").is_file()
    (needs,) = [path.read_text() for path in target.glob("tunesmith-*.dist-info/METADATA")]
    assert "Requires-Dist: apache-tvm==" in needs
    assert "torch" not in needs
    kept = "".join(path.read_text() for path in target.glob("tunesmith-*.dist-info/direct_url.json"))
    assert web.token not in kept + done.stdout + done.stderr


def test_what_is_not_the_wheel_that_was_named_is_refused_by_pip(web: Web, tmp_path: Path) -> None:
    line, _, digest = pasted(web).rpartition("=")
    other = f"{line}={'1' if digest[0] == '0' else '0'}{digest[1:]}"
    done = installed(other, tmp_path / "there", web.token)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "there").exists()


def test_the_wheel_needs_a_token_and_its_present_name(web: Web) -> None:
    name = pasted(web).rpartition("/")[2].partition("#")[0]
    with httpx.Client(base_url=web.url, timeout=patience(5)) as client:
        assert client.get("/agent/").status_code == 401
        assert client.get(f"/agent/{name}", auth=("anybody", "wrong")).status_code == 401
        assert client.get(f"/agent/{name}", auth=("anybody", web.token)).status_code == 200
    assert web.get("/agent/tunesmith-0.0.0-py3-none-any.whl").status_code == 404


def test_it_is_made_once_and_anew_where_it_was_removed(web: Web) -> None:
    line = pasted(web)
    (path,) = web.settings.agent_dir.glob("*.whl")
    made = path.stat().st_mtime_ns
    assert pasted(web) == line
    assert path.stat().st_mtime_ns == made
    path.unlink()
    assert pasted(web) == line
    assert path.is_file()
