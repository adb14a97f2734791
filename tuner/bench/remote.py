"""Times modules on a device that is not this machine. PyTorch does not take part: it is not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tuner.bench.compare import Progress, rounds_within
from tuner.bench.spec import Result, Timing
from tuner.bench.stats import summarise
from tuner.measuring.canary import Watch
from tuner.measuring.measure import DeviceAddress
from tuner.measuring.remote import RemoteModule, session


def run_remote_benchmark(
    device: DeviceAddress,
    folders: Mapping[str, Path],
    inputs: Mapping[str, np.ndarray],
    rounds: int,
    per_round: int,
    max_sec: float,
    canary: str | None,
    progress: Progress,
) -> tuple[Result, dict[str, Any]]:
    """Time each module ``per_round`` times in each of ``rounds`` rounds; what came out, and the device's facts.

    There are fewer rounds where more would not fit into ``max_sec``, but six. ``canary`` is the reference kernel's
    library, timed in each round. Raises DeviceUnavailable or SessionLost of ``rpc.errors``.
    """
    with session(device) as remote:
        facts = json.loads(remote.get_function("tunesmith.device_facts")())
        modules = {name: RemoteModule(remote, folder) for name, folder in folders.items()}
        times_ms: dict[str, list[list[float]]] = {name: [] for name in modules}
        watch = Watch(remote, canary)
        for _ in rounds_within(max_sec, rounds, progress):
            for name, module in modules.items():
                times_ms[name].append(module.time_ms(inputs, per_round))
            watch.look()
    timings = [Timing(variant=name, **summarise(times).as_dict()) for name, times in times_ms.items()]
    return Result(threads=facts["threads"], machine=facts["cpu"], timings=timings, canary_us=watch.typical_us), facts
