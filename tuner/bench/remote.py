"""Times modules on a device that is not this machine. PyTorch does not take part: it is not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tuner.bench.spec import Result, Timing
from tuner.bench.stats import summarise
from tuner.compiler.remote import RemoteModule, session
from tuner.search.canary import Canary
from tuner.search.measure import DeviceAddress


def run_remote_benchmark(
    device: DeviceAddress,
    folders: Mapping[str, Path],
    inputs: Mapping[str, np.ndarray],
    rounds: int,
    per_round: int,
    canary: str | None,
    progress: Callable[[int, int], None],
) -> tuple[Result, dict[str, Any]]:
    """Time each module ``per_round`` times in each of ``rounds`` turns; what came out, and the device's facts.

    ``canary`` is the reference kernel's library, timed after each turn.
        Raises DeviceUnavailable or SessionLost of ``rpc.errors``.
    """
    with session(device) as remote:
        facts = json.loads(remote.get_function("tunesmith.device_facts")())
        modules = {name: RemoteModule(remote, folder) for name, folder in folders.items()}
        times_ms: dict[str, list[float]] = {name: [] for name in modules}
        reference = Canary(remote, canary) if canary else None
        canary_secs = []
        for done in range(1, rounds + 1):
            for name, module in modules.items():
                times_ms[name] += module.time_ms(inputs, per_round)
            canary_secs += [reference.seconds()] if reference else []
            progress(done, rounds)
    timings = [Timing(variant=name, **summarise(times).as_dict()) for name, times in times_ms.items()]
    canary_us = median(canary_secs) * 1e6 if canary_secs else None
    return Result(threads=facts["threads"], machine=facts["cpu"], timings=timings, canary_us=canary_us), facts
