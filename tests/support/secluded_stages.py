"""What the process of a secluded stage does in tests, in place of stages."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any

from tuner.apart import told
from tuner.config import Settings
from tuner.errors import DeviceUnavailable


def prepare() -> None:
    """Nothing is needed."""


def answer(question: tuple[str, Settings, dict[str, Any]]) -> dict[str, Any]:
    """Do what the stage's name says."""
    return told(partial(_run, *question))


def _run(stage: str, settings: Settings, arguments: dict[str, Any]) -> None:
    match stage:
        case "eat":
            bytearray(20 * 2**30)
        case "crash":
            os.kill(os.getpid(), 11)
        case "hang":
            time.sleep(1000)
        case "refuse":
            raise DeviceUnavailable("No device came.", "Wait.")
    with (settings.root / arguments["job_id"]).open("a") as file:
        file.write(f"{os.getpid()}\n")
