"""``python -m tuner.jobs.coordinator_process``: coordinate until a signal."""

from __future__ import annotations

import functools
import logging
import shutil
import signal
import sys
import threading

from sqlalchemy.exc import OperationalError

from rpc.heartbeat import Heartbeat
from rpc.lifeline import die_with_parent
from rpc.logfile import start_logging
from rpc.quiet import is_building
from tuner.config import Settings
from tuner.db.engine import make_engine
from tuner.db.migrate import check_schema
from tuner.errors import TunerError
from tuner.jobs import garbage
from tuner.jobs.coordinator import Coordinator
from tuner.jobs.device_watch import DeviceWatch, ask_tracker
from tuner.jobs.engine import DaskEngine

log = logging.getLogger(__name__)

TICK_SEC = 0.25
RETRY_SEC = 1.0


def main() -> None:
    """Coordinate until a signal; tasks that run then are adopted by the next coordinator."""
    die_with_parent()
    settings = Settings()
    start_logging(settings.log_level)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost connection is ours to report
    if settings.engine is None:
        sys.exit("No engine: set TUNER_ENGINE to a Dask scheduler, or start everything with `tunesmith serve`.")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    check_schema(settings)
    database = make_engine(settings)
    engine = DaskEngine(settings.engine, settings)
    coordinator = Coordinator(
        settings,
        database,
        engine,
        DeviceWatch(
            database,
            lambda: ask_tracker(settings.tracker_host, settings.tracker_port),
            settings.device_key,
            f"{settings.tracker_host}:{settings.tracker_port}",
            functools.partial(is_building, settings.quiet_lock),
        ),
        free_bytes=lambda: shutil.disk_usage(settings.root).free,
    )
    heart = Heartbeat(settings.heartbeat_file)
    garbage.collect()
    while not stopped.is_set():
        try:
            coordinator.tick()
            heart.beat(coordinator.note())
        except (TunerError, OperationalError) as error:
            # A full disk or a database that is away for a moment: nothing is lost, the next pass tries again.
            log.error("%s", error)
            stopped.wait(RETRY_SEC)
        except Exception:
            log.exception("a pass broke off; the next one tries again")
            stopped.wait(RETRY_SEC)
        engine.wait(TICK_SEC)
    coordinator.resign()


if __name__ == "__main__":
    main()
