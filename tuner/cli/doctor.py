"""``tunesmith doctor``: does everything work? With the running service, or with parts started for the look."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

import rpc.errors
from rpc import tracker
from rpc.drafts import draft
from rpc.lifeline import bare_env, python_module
from rpc.quiet import building
from rpc.supervisor import Supervisor
from rpc.versions import PINS
from tuner.cli import probes
from tuner.cli.datadir import running_service
from tuner.cli.ports import lasting_port
from tuner.cli.serve import device_processes
from tuner.cli.words import size
from tuner.config import Settings
from tuner.db import migrate
from tuner.db.engine import make_engine
from tuner.errors import TunerError
from tuner.importers import shelf
from tuner.jobs.readiness import Check, working
from tuner.uploads import store
from tuner.versions import check_versions

_COMPILERS = ("g++", "gcc", "clang++", "clang", "c++", "cc")  # as TVM looks for them
_PROBE_SEC = 60.0
_ANSWER_SEC = 15.0  # of a part that may be slow, as a crowded machine is: it is asked once
_SERVE_HINT = "Start the service with: tunesmith serve"


def doctor(settings: Settings, say: Callable[[str], None] = lambda _: None) -> Iterator[Check]:
    """Look at everything the service needs; each check is yielded as soon as it is done, and ``say`` hears what is
    waited for.

    Without a running service a tracker and a device are started for the round trip and ended again.
    """
    versions = check_installed()
    yield versions
    yield check_data_dir(settings)
    yield check_kept(settings)
    yield check_schema(settings)
    yield check_compiler()
    service = running_service(settings)
    if service is None:
        yield Check("service", True, f"none runs in {settings.root}; checking with a device of our own", _SERVE_HINT)
    else:
        yield check_web(service)
        yield from check_work(settings)
    if versions.ok:
        yield from _check_devices(settings, service, say)


def check_installed() -> Check:
    """The pinned packages."""
    try:
        check_versions()
    except TunerError as error:
        return Check("versions", False, error.message, error.hint)
    return Check("versions", True, ", ".join(f"{name} {version}" for name, version in PINS.items()))


def check_data_dir(settings: Settings) -> Check:
    """The data directory, or where it will be made: space on its disk."""
    folder = settings.root
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{settings.root}, {free / 1e9:.1f} GB free"
    if free < settings.min_free_bytes:
        return Check("disk", False, detail, f"Free some space: jobs stop below {settings.min_free_bytes / 1e9:.1f} GB.")
    return Check("disk", True, detail)


def check_kept(settings: Settings) -> Check:
    """What imports, uploads and artifacts take, and by which rules they go."""
    imports = sum(one.size_bytes for one in shelf.kept(settings.imports_dir))
    artifacts = sum(path.stat().st_size for path in settings.artifacts_dir.glob("art-*.tar"))
    uploads = store.size_of(settings.uploads_dir)
    days = settings.keep_artifacts_days
    kept_for = "for ever" if days is None else f"for {days:g} days"
    return Check(
        "kept",
        True,
        f"imports {size(imports)} of {size(settings.cache_bytes)} (TUNER_CACHE_BYTES), "
        f"uploads {size(uploads)} of {size(settings.max_uploads_bytes)} (TUNER_MAX_UPLOADS_BYTES), "
        f"artifacts {size(artifacts)}, replaced ones {kept_for} (TUNER_KEEP_ARTIFACTS_DAYS)",
    )


def check_schema(settings: Settings) -> Check:
    """The database's schema; none is fine, the service makes it."""
    if settings.database_url is None and not (settings.root / "tunesmith.db").exists():
        return Check("database", True, "none yet; the service makes it when it first starts")
    try:
        migrate.check_schema(settings)
    except TunerError as error:
        return Check("database", False, error.message, error.hint)
    return Check("database", True, f"schema is at {migrate.head()}")


def check_compiler() -> Check:
    """A C compiler, which links what TVM builds."""
    for name in _COMPILERS:
        if path := shutil.which(name):
            return Check("C compiler", True, path)
    hint = "Install one: apt-get install g++ (Linux), xcode-select --install (macOS)."
    return Check("C compiler", False, f"none of {', '.join(_COMPILERS)} is on the PATH", hint)


def check_web(service: dict[str, Any]) -> Check:
    """The running service's web process."""
    url = service["url"]
    if probes.web_answers(url, _ANSWER_SEC):
        return Check("service", True, f"answers at {url}")
    return Check("service", False, f"does not answer at {url}", "Look into run/logs/web.log of the data directory.")


def check_work(settings: Settings) -> Iterator[Check]:
    """Whether the running service's other processes do their work."""
    engine = make_engine(settings)
    try:
        yield from working(settings, engine)
    except SQLAlchemyError as error:
        yield Check("database", False, str(error))
    finally:
        engine.dispose()


def _check_devices(settings: Settings, service: dict[str, Any] | None, say: Callable[[str], None]) -> Iterator[Check]:
    """Tracker, device and a round trip, of the service or of parts started for this."""
    round_trip = functools.partial(_check_when_quiet, settings, say)
    if service:
        host, _, port = service["tracker"].rpartition(":")
        yield from check_device(host, int(port), settings.device_key, round_trip)
        return
    with draft(Path(tempfile.gettempdir()), "tunesmith-doctor-") as folder:
        port = lasting_port("127.0.0.1")
        work_dir = folder / "device"
        specs = device_processes("127.0.0.1", port, settings.device_key, settings.device_threads, work_dir)
        supervisor = Supervisor(specs, folder / "logs")
        try:
            supervisor.start()
            yield from check_device("127.0.0.1", port, settings.device_key, round_trip)
        except rpc.errors.StartFailed as error:
            yield Check("device", False, error.message, error.hint)
        finally:
            supervisor.stop()


def check_device(host: str, port: int, key: str, round_trip: Callable[[str, int, str], Check]) -> Iterator[Check]:
    """Tracker, registration, then a ``round_trip``: an add kernel built and run over a lease."""
    try:
        summary = tracker.summary(host, port, _ANSWER_SEC)
    except OSError as error:
        yield Check(
            "tracker", False, f"{host}:{port}: {error}", "Look into run/logs/tracker.log of the data directory."
        )
        return
    yield Check("tracker", True, f"answers at {host}:{port}")
    devices = tracker.registered(summary)
    if key not in devices:
        known = ", ".join(sorted(devices)) or "none"
        hint = f"Look into run/logs/device.log, or join this machine: tunesmith agent --tracker {host}:{port}"
        yield Check("device", False, f"'{key}' is not registered; known: {known}", f"{hint} --key {key}")
        return
    facts = devices[key][0].get("facts", {})
    detail = f"'{key}': {facts.get('cpu', 'unknown CPU')}, {facts.get('threads', '?')} threads, {facts.get('mcpu', '')}"
    yield Check("device", True, detail)
    yield round_trip(host, port, key)


def _check_when_quiet(settings: Settings, say: Callable[[str], None], host: str, port: int, key: str) -> Check:
    try:
        with building(settings.quiet_lock, _PROBE_SEC, say):
            return check_round_trip(host, port, key)
    except rpc.errors.DeviceUnavailable as error:
        return Check("round trip", False, error.message, error.hint)


def check_round_trip(host: str, port: int, key: str) -> Check:
    """Build an add kernel and run it on the device, in a process of its own: TVM may crash, we may not."""
    argv = python_module("rpc.probe", "--host", host, "--port", str(port), "--key", key)
    hint = "The device may be busy with a job: try again, or look into run/logs/device.log."
    try:
        result = subprocess.run(argv, env=bare_env(), capture_output=True, text=True, timeout=_PROBE_SEC, check=False)
    except subprocess.TimeoutExpired:
        return Check("round trip", False, f"not done within {_PROBE_SEC:g} s", hint)
    if result.returncode != 0:
        return Check("round trip", False, result.stderr.strip() or f"ended with code {result.returncode}", hint)
    times = json.loads(result.stdout.splitlines()[-1])
    return Check(
        "round trip",
        True,
        f"add kernel: built in {times['build_sec'] * 1e3:.0f} ms, device leased in {times['lease_sec'] * 1e3:.0f} ms, "
        f"loaded, run and read back in {times['round_trip_sec'] * 1e3:.0f} ms",
    )
