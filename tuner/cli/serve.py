"""``tunesmith serve``: the whole service on this machine as supervised processes."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import rpc.errors
from rpc.device_probe import DeviceProbe
from rpc.lifeline import python_module
from rpc.logfile import LogLevel
from rpc.loopback import is_loopback
from rpc.supervised import ProcessSpec
from rpc.supervisor import Supervisor
from tuner.cli import probes
from tuner.cli.datadir import hold_data_dir, write_run_file
from tuner.cli.ports import choose_port, lasting_port
from tuner.client.addresses import page_url
from tuner.config import DEFAULT_PORT, DEFAULT_TRACKER_PORT, Settings
from tuner.db import migrate
from tuner.errors import StartFailed
from tuner.jobs.engine_tls import make_certificate, security
from tuner.tokens import check_doors, known_token
from tuner.versions import check_versions

_BUSY_SEC = 30.0  # what has much to do may be silent for so long
_WORKERS_AWAY_SEC = 60.0  # a worker that was killed is back in seconds, on a machine that swaps in a minute


def serve(settings: Settings, echo: Callable[[str], None] = print) -> None:
    """Run the service in the foreground until Ctrl-C or SIGTERM; everything it started ends with it.

    ``echo`` gets what the user shall read; restarts of processes go to the log.

    Raises:
        WrongVersion, PortTaken, InvalidInput, SchemaOutdated, SchemaUnknown, DataDirForeign, StartFailed; Conflict when
        another service uses the data directory.
    """
    check_versions()
    check_doors(settings)
    with hold_data_dir(settings), ExitStack() as claims:
        _log_to(logs_dir(settings) / "supervisor.log", settings.log_level)
        migrate.create_or_check(settings)
        decided = with_addresses(settings, claims)
        own_engine = settings.engine is None
        if own_engine:
            make_certificate(decided.own_engine_pem)
        else:
            security(decided)  # refuses what does not go together
        run_file = {
            "url": probes.web_url(decided),
            "tracker": f"{decided.tracker_host}:{decided.tracker_port}",
            "engine": decided.engine,
            "started_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        supervisor = Supervisor(
            service_processes(decided, own_engine),
            log_dir=logs_dir(decided),
            on_change=lambda pids: write_run_file(decided, {**run_file, "pids": pids}),
        )
        echo(f"Starting TuneSmith in {decided.root} ...")
        try:
            supervisor.run(on_started=lambda: echo(_banner(decided, dashboard_url(decided))))
        except rpc.errors.StartFailed as error:
            raise StartFailed(error.message, "Check this machine with: tunesmith doctor") from error
        finally:
            decided.run_file.unlink(missing_ok=True)
        echo("Stopped.")


def with_addresses(settings: Settings, claims: ExitStack) -> Settings:
    """Settings with every address decided; a port that the user named is that one or PortTaken.

    Another service that decides before ``claims`` is closed gets others.
    """
    wanted = settings.tracker_port
    tracker_port = choose_port(settings.tracker_host, wanted, DEFAULT_TRACKER_PORT, "TUNER_TRACKER_PORT", claims)
    return settings.model_copy(
        update={
            "data_dir": settings.root,
            "port": choose_port(settings.host, settings.port, DEFAULT_PORT, "--port or TUNER_PORT", claims),
            "tracker_port": tracker_port,
            **({} if settings.engine else _own_engine(settings)),
        }
    )


def _own_engine(settings: Settings) -> dict[str, Any]:
    pem = settings.own_engine_pem
    return {"engine": f"tls://127.0.0.1:{lasting_port('127.0.0.1')}", "engine_ca": pem, "engine_cert": pem}


def service_processes(settings: Settings, own_engine: bool) -> list[ProcessSpec]:
    """The processes of a service whose addresses are decided."""
    assert settings.tracker_port is not None
    assert settings.engine is not None
    settings.temporary_dir.mkdir(parents=True, exist_ok=True)
    env = settings.as_env() | {"TMPDIR": str(settings.temporary_dir)}
    specs = device_processes(
        settings.tracker_host,
        settings.tracker_port,
        settings.device_key,
        settings.device_threads,
        settings.root / "run" / "device",
        settings.log_level,
        settings.tracker_users,
    )
    if own_engine:
        specs.append(_engine_process(settings, settings.engine, env))
    argv = python_module("api.web_process")
    answers = functools.partial(probes.web_answers, probes.web_url(settings))
    specs.append(ProcessSpec("web", argv, env, ready=answers, healthy=answers, unhealthy_sec=_BUSY_SEC))
    argv = python_module("tuner.jobs.coordinator_process")
    passes = functools.partial(probes.coordinator_passes, settings)
    after = "engine" if own_engine else ""
    specs.append(ProcessSpec("coordinator", argv, env, after=after, healthy=passes, unhealthy_sec=_BUSY_SEC))
    return specs


def _engine_process(settings: Settings, address: str, env: dict[str, str]) -> ProcessSpec:
    port, workers = address.rpartition(":")[2], settings.engine_workers
    return ProcessSpec(
        "engine",
        python_module("tuner.jobs.engine_process", "--port", port, "--workers", str(workers)),
        env,
        ready=functools.partial(probes.engine_answers, settings),
        healthy=functools.partial(probes.engine_has_workers, settings),
        health_every_sec=5.0,
        unhealthy_sec=_WORKERS_AWAY_SEC,
    )


def device_processes(
    tracker_host: str,
    tracker_port: int,
    key: str,
    threads: int | None,
    work_dir: Path,
    log_level: LogLevel = "INFO",
    tracker_users: str = "",
) -> list[ProcessSpec]:
    """A tracker and this machine as its device; the device counts as well while the tracker knows it.

    The device takes sessions from this machine only, also where the user lets others reach the tracker. Of the
    machine's other users the tracker takes ``tracker_users``, names separated by commas.
    """
    port = str(tracker_port)
    tracker_answers = functools.partial(probes.tracker_answers, tracker_host, tracker_port)
    probe = DeviceProbe(tracker_host, tracker_port, key)
    level = ("--log-level", log_level)
    trust = [word for name in tracker_users.split(",") if name.strip() for word in ("--trust", name.strip())]
    tracker_argv = python_module("rpc.tracker_process", "--host", tracker_host, "--port", port, *level, *trust)
    device_argv = python_module(
        "rpc.agent",
        *("--tracker", f"{tracker_host}:{port}", "--key", key, "--work-dir", str(work_dir), *level),
        *(("--threads", str(threads)) if threads else ()),
        *(() if is_loopback(tracker_host) else ("--allow-remote-tracker", "--advertise", "127.0.0.1")),
    )
    return [
        ProcessSpec("tracker", tracker_argv, bare=True, ready=tracker_answers, healthy=tracker_answers),
        ProcessSpec(
            "device",
            device_argv,
            bare=True,
            after="tracker",
            ready=lambda: probe.is_registered() is True,
            healthy=probe.is_well,
            unhealthy_sec=15.0,
        ),
    ]


def logs_dir(settings: Settings) -> Path:
    """Where each process of the service writes its log."""
    return settings.root / "run" / "logs"


def _log_to(path: Path, level: str) -> None:
    """What became of the processes, on the terminal and in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = RotatingFileHandler(path, maxBytes=8 * 1024 * 1024, backupCount=1)
    logging.basicConfig(format="%(asctime)s %(message)s", handlers=[logging.StreamHandler(), file])
    logging.getLogger("rpc").setLevel(level)


def dashboard_url(settings: Settings) -> str:
    """Where a browser is let in: for the eyes of the service's user alone."""
    token = known_token(settings.token_file) if settings.auth == "token" else None
    return page_url(probes.web_url(settings), token)


def _banner(settings: Settings, dashboard: str) -> str:
    tracker = f"{settings.tracker_host}:{settings.tracker_port}"
    return (
        "TuneSmith is ready.\n"
        f"  Dashboard  {dashboard}\n"
        f"  Data       {settings.root}\n"
        f"  Logs       {logs_dir(settings)}\n"
        f"  Tracker    {tracker}, where this machine is the device '{settings.device_key}'\n"
        "Press Ctrl-C to stop."
    )
