"""What runs candidates' code sees no secret of the service's."""

from __future__ import annotations

import subprocess

import pytest

from rpc.environment import harmless
from rpc.lifeline import bare_env, child_env, told_env
from tests.support.processes import python_code

SECRETS = (
    *("HF_TOKEN", "TUNER_DATABASE_URL", "TUNER_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "SSH_AUTH_SOCK"),
    *("GITHUB_TOKEN", "HTTPS_PROXY", "PIP_INDEX_URL", "SOME_NEW_THING"),
)
NEEDED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "TVM_NUM_THREADS", "CC", "TZ")


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_passes(name: str) -> None:
    assert harmless({name: "secret", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize("name", NEEDED)
def test_what_it_takes_to_compile_and_to_compute_passes(name: str) -> None:
    assert harmless({name: "/here"}) == {name: "/here"}


def test_no_process_of_the_service_sees_the_token_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_TOKEN", "secret")
    monkeypatch.setenv("TUNER_DATABASE_URL", "sqlite://")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert child_env().keys() & {"TUNER_TOKEN", "TUNER_DATABASE_URL", "HF_TOKEN"} == {"TUNER_DATABASE_URL", "HF_TOKEN"}
    assert told_env().keys() & {"TUNER_TOKEN", "TUNER_DATABASE_URL", "HF_TOKEN"} == {"HF_TOKEN"}


def test_a_bare_process_was_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even what the kernel keeps of how it was started."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code = "print(open('/proc/self/environ').read())"
    told = subprocess.run(python_code(code), env=bare_env(MORE="given"), capture_output=True, text=True, check=True)
    assert "MORE=given" in told.stdout
    assert "hf_secret" not in told.stdout
