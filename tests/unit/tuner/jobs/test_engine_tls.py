"""Certificates of the engine: made so that only this user has them, and told by settings that go together."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.support.engine import engine_settings
from tests.support.processes import python_code
from tuner.config import Settings
from tuner.errors import InvalidInput
from tuner.jobs.engine_tls import make_certificate, security

TLS, TCP = "tls://scheduler:8786", "tcp://scheduler:8786"


def test_the_key_is_for_this_user_alone_and_another_at_each_start(tmp_path: Path) -> None:
    path = tmp_path / "engine.pem"
    before = os.umask(0)
    make_certificate(path)
    first = path.read_bytes()
    make_certificate(path)
    os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() != first
    assert [file.name for file in tmp_path.iterdir()] == ["engine.pem"]


def test_no_clock_makes_it_invalid(tmp_path: Path) -> None:
    make_certificate(tmp_path / "engine.pem")
    certificate = x509.load_pem_x509_certificate((tmp_path / "engine.pem").read_bytes())
    assert (certificate.not_valid_before_utc.year, certificate.not_valid_after_utc.year) == (1970, 9999)


def test_an_engine_elsewhere_is_given_its_certificates_by_settings(tmp_path: Path) -> None:
    paths = {f"engine_{name}": tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    for path in paths.values():
        path.touch()
    found = security(Settings(data_dir=tmp_path, engine=TLS, **paths))
    assert found is not None
    assert found.require_encryption
    for role in ("client", "scheduler", "worker"):
        config = found.get_tls_config_for_role(role)
        assert [config["ca_file"], config["cert"], config["key"]] == [str(path) for path in paths.values()]


def test_an_engine_elsewhere_may_have_none(tmp_path: Path) -> None:
    assert security(Settings(data_dir=tmp_path, engine=TCP)) is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"engine": TLS, "engine_ca": None, "engine_cert": None}, "TUNER_ENGINE_CERT"),
        ({"engine": TLS, "engine_ca": None}, "TUNER_ENGINE_CA"),
        ({"engine": TCP}, TCP),
        ({"engine": TLS, "engine_key": Path("/nowhere/key.pem")}, "/nowhere/key.pem"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        security(engine_settings(tmp_path).model_copy(update=changes))


def test_who_starts_the_service_does_not_load_dask_for_it() -> None:
    code = "import sys; import tuner.cli.serve; print('distributed' in sys.modules)"
    done = subprocess.run(python_code(code), capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
