"""``python -m tuner.jobs.check_process ARTIFACT DEVICE``: have a device of the fleet run an artifact.

Nothing in it computes with PyTorch, without which it is there in half the time (1.3 s of a core instead of 2.5 s, two
cores of an AMD EPYC (Zen 4)) and holds 236 MB instead of 430 MB.
"""

from __future__ import annotations

import os
import sys

from rpc.expendable import go_first
from rpc.lean import importing, prepare_lean_import
from rpc.lifeline import die_with_parent
from rpc.logfile import start_logging
from tuner.config import Settings
from tuner.db.engine import make_engine

_NICENESS = 19  # it gives way to what this machine measures


def main() -> None:
    """Check what the command line names."""
    die_with_parent()
    go_first()
    os.nice(_NICENESS)
    prepare_lean_import()
    with importing():
        from tuner.jobs.checking import check
    settings = Settings()
    start_logging(settings.log_level)
    artifact_id, key = sys.argv[1:]
    engine = make_engine(settings)
    try:
        check(settings, engine, artifact_id, key)
    finally:
        engine.dispose()


if __name__ == "__main__":
    main()
