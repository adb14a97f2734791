"""``tunesmith agent`` and the file that keeps it running name the same device process."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tuner.cli.main import app
from tuner.errors import InvalidInput

PRINT = ["agent", "install", "--print", "--user", "nobody", "--key", "m1-cpu"]


def test_what_is_printed_starts_the_agent_with_the_options_that_were_given() -> None:
    done = CliRunner().invoke(app, [*PRINT, "--tracker", "127.0.0.1:9190", "--port", "9091", "--threads", "4"])
    assert done.exit_code == 0, done.output
    for word in ("rpc.agent", "--tracker", "127.0.0.1:9190", "--port", "9091", "--key", "m1-cpu", "--threads", "4"):
        assert word in done.stdout
    assert "nobody" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tracker", "192.0.2.1:9190"], "not on this machine"),
        (["--tracker", "9190"], "not HOST:PORT"),
        (["--tracker", "127.0.0.1:9190", "--user", "root"], "shall not do so as root"),
        (["--tracker", "127.0.0.1:9190", "--user", "no such user"], "knows no user"),
        (["--tracker", "127.0.0.1:9190", "--key", "../../etc/passwd"], "can't name a file"),
    ],
)
def test_what_would_fail_at_each_start_is_refused_now(options: list[str], said: str) -> None:
    done = CliRunner().invoke(app, [*PRINT, *options])
    assert isinstance(done.exception, InvalidInput)
    assert said in done.exception.message


def test_an_agent_without_a_tracker_is_wrong_usage() -> None:
    done = CliRunner().invoke(app, ["agent"])
    assert done.exit_code == 2
    assert "--tracker" in done.output
