"""`tunesmith compile` and `doctor` compute while nothing is measured on this machine, and nothing is while they do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rpc.errors import DeviceUnavailable
from rpc.quiet import building, is_building
from tests.support.tiny_models import write_model
from tuner.cli import compiling, doctor
from tuner.config import Settings
from tuner.db.models import Job
from tuner.jobs import standalone
from tuner.jobs.workbench import device_address
from tuner.measuring import measure


def is_measuring(settings: Settings) -> bool:
    """Would a build have to wait?"""
    try:
        with building(settings.quiet_lock, 0.0, lambda _: None):
            return False
    except DeviceUnavailable:
        return True


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", tracker_port=1)


@pytest.mark.parametrize(("target", "here"), [("local", True), ("m1-cpu", False)])
def test_a_session_on_this_machine_keeps_builds_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, target: str, here: bool
) -> None:
    @contextmanager
    def lease(*_: Any) -> Iterator[str]:
        yield "a session"

    monkeypatch.setattr(measure, "lease", lease)
    job = Job(model_id="mdl-1", target=target, target_json={"kind": "llvm"}, budget_trials=1)
    with device_address(settings, job).lease() as session:
        assert session == "a session"
        assert is_measuring(settings) == here
    assert not is_measuring(settings)


def test_compile_computes_while_nothing_is_measured(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def compile_model(*_: Any) -> dict[str, Any]:
        raise RuntimeError(f"building: {is_building(settings.quiet_lock)}")

    monkeypatch.setattr(standalone, "compile_model", compile_model)
    model = write_model(tmp_path / "tiny", "distilbert")
    with pytest.raises(RuntimeError, match="building: True"):
        compiling.compile(str(model), out=tmp_path / "out.tar", target="m1-cpu", data_dir=settings.root)
    assert not is_building(settings.quiet_lock)


def test_doctor_builds_while_nothing_is_measured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def round_trip(*_: Any) -> doctor.Check:
        found.append(is_building(settings.quiet_lock))
        return doctor.Check("round trip", True, "")

    monkeypatch.setattr(doctor, "check_round_trip", round_trip)
    assert all(check.ok for check in doctor.doctor(settings) if check.name != "disk")
    assert found == [True]
