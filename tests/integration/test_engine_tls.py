"""Other users of the machine reach the engine's ports, and get nothing there."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from distributed import Client

from tests.support.engine import address_of, engine_process, engine_settings
from tests.support.processes import family, patience, python_code, running, wait_until
from tuner.config import Settings
from tuner.jobs.engine import DaskEngine
from tuner.jobs.engine_probe import count_workers
from tuner.jobs.engine_tls import security

HOST, GREETING = "127.0.0.1", b"pickle-protocol"
PAGES = (
    "/",
    "/info/main/workers.html",
    "/json/counts.json",
    "/json/identity.json",
    "/metrics",
    "/health",
)


@dataclass
class Running:
    """An engine that is up."""

    settings: Settings
    address: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def ports(self) -> list[int]:
        """All that its processes listen on: scheduler, nanny, worker, and what each has for browsers."""
        listening = [
            connection.laddr.port
            for pid in family(self.process.pid)
            for connection in psutil.Process(pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(listening) >= 3
        return listening


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = engine_settings(tmp_path_factory.mktemp("engine"))
    with engine_process(settings) as process:
        address = address_of(process)
        assert process.stdout is not None
        threading.Thread(target=process.stdout.read, daemon=True).start()  # or a full pipe would stop it
        with Client(address, security=security(settings), set_as_default=False) as client:
            client.wait_for_workers(1, timeout=patience(30))
        yield Running(settings, address, process)


def heard(port: int, context: ssl.SSLContext | None) -> bytes:
    """What a listener says first to whoever connects: Dask greets, then takes code."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            stream = context.wrap_socket(connection) if context else connection
            with stream:
                return stream.recv(4096)
    except OSError:
        return b""


def strangers_context(tmp_path: Path) -> ssl.SSLContext:
    """TLS with a certificate of one's own, and without a look at the engine's."""
    settings = engine_settings(tmp_path / "stranger")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(settings.own_engine_pem)
    return context


def test_no_part_of_it_speaks_with_a_stranger(engine: Running, tmp_path: Path) -> None:
    context = strangers_context(tmp_path)
    for port in engine.ports():
        assert GREETING not in heard(port, None)
        assert GREETING not in heard(port, context)


def test_a_browser_is_shown_nothing(engine: Running) -> None:
    for port in engine.ports():
        for page in PAGES:
            try:
                answer = httpx.get(f"http://{HOST}:{port}{page}", timeout=1, trust_env=False)
            except httpx.HTTPError:
                break  # it speaks TLS
            assert answer.status_code == 404, page


def test_a_stranger_runs_no_code(engine: Running, tmp_path: Path) -> None:
    certificate = security(engine_settings(tmp_path / "stranger"))
    for address, shown in ((engine.address.replace("tls:", "tcp:"), None), (engine.address, certificate)):
        with pytest.raises(OSError, match=rf"certificate|{engine.port}"):
            Client(address, security=shown, timeout=1, set_as_default=False)


def test_the_engine_counts_as_up_for_whoever_has_its_certificate(engine: Running, tmp_path: Path) -> None:
    assert count_workers(engine.address, security(engine.settings), patience(2)) == 1
    assert count_workers(engine.address, security(engine_settings(tmp_path / "stranger"))) is None


def test_whoever_else_listens_in_its_place_does_not_count(engine: Running, tmp_path: Path) -> None:
    with engine_process(engine_settings(tmp_path / "stranger")) as stranger:
        assert count_workers(address_of(stranger), security(engine.settings)) is None
    with socket.create_server((HOST, 0)) as silent:
        assert count_workers(f"tls://{HOST}:{silent.getsockname()[1]}", security(engine.settings), 1.0) is None


def test_a_worker_goes_by_its_own_settings_and_none_travel(engine: Running, tmp_path: Path) -> None:
    told = {"data_dir": tmp_path, "database_url": "postgresql://user:secret@db/tunesmith"}
    settings = engine.settings.model_copy(update=told)
    client = DaskEngine(engine.address, settings, stages="tests.support.engine_stages", timeout_sec=patience(2))
    client.submit("task", "note", job_id="job-settings")
    wait_until((engine.settings.root / "job-settings").exists, 20, "the task, in the engine's own data directory")
    client.close()
    assert not list(tmp_path.iterdir())


def test_an_engine_without_a_certificate_does_not_start(tmp_path: Path) -> None:
    argv = python_code("from tuner.jobs.engine_process import main; main()")
    with running(argv, TUNER_DATA_DIR=str(tmp_path)) as process:
        output, _ = process.communicate(timeout=patience(30))
    assert process.returncode == 1
    assert "TUNER_ENGINE_CA" in output
