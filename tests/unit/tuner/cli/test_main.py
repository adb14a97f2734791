"""The command line as a whole: what it loads, how it finds the service, how it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tuner.cli import main, sending
from tuner.cli.common import service_url, settings_with, token_for
from tuner.cli.datadir import hold_data_dir, write_run_file
from tuner.errors import InvalidInput
from tuner.tokens import own_token


def tunesmith(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Runs the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["tunesmith", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    return int(ended.value.code or 0)


def test_command_line_loads_neither_tvm_nor_torch() -> None:
    heavy = ["tvm", "torch", "transformers", "numpy", "sqlalchemy", "fastapi", "distributed"]
    script = f"import sys, tuner.cli.main; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_error_is_two_lines_on_stderr_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tunesmith(monkeypatch, "jobs", "--url", "http://127.0.0.1:1") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    error, hint = printed.err.splitlines()
    assert error.startswith("error: No service answers at http://127.0.0.1:1")
    assert hint == "hint: Start it with `tunesmith serve`, or name another with --url."


@pytest.mark.parametrize(
    "arguments",
    [
        ["tune"],
        ["nonsense"],
        ["tune", "m", "--express", "--full"],
        ["serve", "--port", "70000"],
        ["serve", "--port", "-1"],
    ],
)
def test_wrong_usage_is_exit_code_2(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    assert tunesmith(monkeypatch, *arguments) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "0"], "--batch: Input should be greater than or equal to 1, got 0"),
        (["--seq-len", "-3"], "--seq-len: Input should be greater than or equal to 1, got -3"),
        (["--head", "decoder"], "--head: Input should be 'encoder', 'sentence-embedding'"),
    ],
)
def test_option_out_of_bounds_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert tunesmith(monkeypatch, "tune", "minilm-l6", *arguments) == 1
    assert message in capsys.readouterr().err


def test_run_of_a_file_that_is_no_artifact_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.tar").write_text("hello")
    assert tunesmith(monkeypatch, "run", str(tmp_path / "a.tar")) == 1
    assert "can't be read as an artifact" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TUNER_PORT", "eighty", "integer"),
        ("TUNER_PORT", "-1", "equal to 0"),
        ("TUNER_TRACKER_PORT", "70000", "65535"),
        ("TUNER_ROUND_BATCH", "0", "equal to 1"),
        ("TUNER_ENGINE_WORKERS", "0", "equal to 1"),
        ("TUNER_LEASE_TIMEOUT_SEC", "0", "greater than 0"),
        ("TUNER_SESSION_TIMEOUT_SEC", "inf", "finite"),
        ("TUNER_LOG_LEVEL", "LOUD", "'DEBUG', 'INFO'"),
    ],
)
def test_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match=rf"{name}='{value}' is no valid setting: .*{said}"):
        settings_with()


def test_service_is_found_by_the_file_it_wrote_while_it_lives(tmp_path: Path) -> None:
    settings = settings_with(data_dir=tmp_path)
    assert service_url(settings) == "http://127.0.0.1:8000"
    assert service_url(settings_with(data_dir=tmp_path, port=81)) == "http://127.0.0.1:81"
    with hold_data_dir(settings):
        write_run_file(settings, {"url": "http://127.0.0.1:4711"})
        assert service_url(settings) == "http://127.0.0.1:4711"
        settings.run_file.write_text("{")
        assert service_url(settings) == "http://127.0.0.1:8000"
        write_run_file(settings, {"url": "http://127.0.0.1:4711"})
    assert service_url(settings) == "http://127.0.0.1:8000"  # it was killed, and others may listen there now


def test_the_own_token_is_shown_to_the_running_service_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNER_TOKEN", raising=False)
    settings, url = settings_with(data_dir=tmp_path), "http://127.0.0.1:4711"
    with hold_data_dir(settings):
        own = own_token(settings.token_file)
        write_run_file(settings, {"url": url})
        assert token_for(settings, url) == token_for(settings, f"{url}/") == own
        others = ["http://127.0.0.1:4712", "http://localhost:4711", "http://[::1]:4711", "https://127.0.0.1:4711"]
        assert [token_for(settings, other) for other in [*others, "http://evil.example:4711"]] == [None] * 5
    assert token_for(settings, url) is None
    monkeypatch.setenv("TUNER_TOKEN", "given")
    assert token_for(settings, "https://lab.example") == "given"


def test_folder_is_sent_as_the_path_the_service_can_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bert").mkdir()
    monkeypatch.chdir(tmp_path)
    assert sending.absolute_if_folder("./bert") == str(tmp_path / "bert")
    assert sending.absolute_if_folder("bert") == "bert"
    assert sending.absolute_if_folder("org/bert") == "org/bert"
