"""``python -m tuner.jobs.engine_process --port P``: the service's own engine, a Dask cluster on loopback."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from typing import Any

import dask
import psutil
from distributed import LocalCluster

from rpc.drafts import have_own_tempdir
from rpc.facts import physical_cores, thread_env
from rpc.lifeline import die_with_parent
from rpc.logfile import start_logging
from tuner.config import Settings
from tuner.errors import TunerError
from tuner.jobs.engine_tls import security
from tuner.versions import check_versions

log = logging.getLogger(__name__)

# Dask's defaults keep an idle cluster at 7 % of a core; its profiler, work stealing and fine ticks serve nobody here.
DASK_CONFIG: dict[str, Any] = {
    "distributed.worker.daemon": False,  # rounds build candidates in processes of their own
    # Whoever dies twice within this time would not be started a third time.
    "distributed.deploy.lost-worker-timeout": "365d",
    "distributed.worker.preload": ["tuner.jobs.engine_worker"],
    "distributed.worker.profile.enabled": False,
    "distributed.worker.profile.interval": "10s",
    "distributed.admin.tick.interval": "2s",
    "distributed.admin.tick.limit": "60s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.scheduler.http.routes": [],  # pages that would tell any user of the machine what runs
    "distributed.worker.http.routes": [],
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.allowed-failures": 0,  # the coordinator decides what runs again, and counts
    "distributed.scheduler.worker-saturation": 1.0,
    # The others of Dask's own would hold every library in a worker to one thread. This one has glibc return freed
    # arrays to the system; without it a worker grows by some 10 MB with each model that is loaded.
    "distributed.nanny.pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": "65536"},
}


def main() -> None:
    """Serve until a signal or the parent's end; a task that runs then is lost, by design."""
    die_with_parent()
    arguments = _arguments()
    settings = Settings()
    start_logging(settings.log_level)
    try:
        check_versions()
        certificates = security(settings)
    except TunerError as error:
        sys.exit(f"{error.message}\n{error.hint}")
    if certificates is None:
        sys.exit("No certificate: set TUNER_ENGINE_CA and TUNER_ENGINE_CERT, or start all by `tunesmith serve`.")
    threads = settings.device_threads or physical_cores()
    os.environ.update(thread_env(threads))  # TVM on its own takes half of the cores
    dask.config.set(DASK_CONFIG)
    have_own_tempdir()
    scratch = settings.root / "run" / "engine"
    scratch.mkdir(parents=True, exist_ok=True)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    cluster = LocalCluster(
        n_workers=arguments.workers,
        threads_per_worker=1,
        host="127.0.0.1",
        scheduler_port=arguments.port,
        security=certificates,
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        memory_limit=0,
        local_directory=str(scratch),
        silence_logs=logging.WARNING,
    )
    log.info("engine at %s with %d worker(s)", cluster.scheduler_address, arguments.workers)
    print(cluster.scheduler_address, flush=True)
    stopped.wait()
    _end()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port of the scheduler; 0: any")
    parser.add_argument("--workers", type=int, default=1, help="processes that run one stage or round each")
    return parser.parse_args()


def _end() -> None:
    """End at once: the engine holds nothing that can't be lost, and a busy worker would hold up a graceful close."""
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    os._exit(0)


if __name__ == "__main__":
    main()
