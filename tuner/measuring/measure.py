"""Times built candidates on a device, in one RPC session a batch, and says of each what became of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from rpc import blas
from rpc.errors import DeviceUnavailable, SessionLost
from rpc.lease import lease
from rpc.quiet import measuring
from tuner.measuring.identity import Expected
from tuner.measuring.looks import seconds_of_looks
from tuner.measuring.placing import Places, Placing
from tuner.measuring.repeats import USUAL, Repeats
from tuner.measuring.timing import Arguments, Shapes, load_library, repeats

COLD_WEIGHT_BYTES = 128 * 1024  # constants at least this large are measured out of cache, as a whole model finds them
# What a session may take: to connect, time the canary and fill the arguments; then for each probe to send and load it,
# and to run it, seven times when it is among the best.
_SESSION_SEC, _PROBE_SEC, _RUNS = 20.0, 2.0, 100
_QUIET_SEC = 60.0  # a build that has begun meanwhile is waited for so long; the coordinator waits for the rest
_NO_BLAS = "Give the device this library and start its agent again, or leave libs out of the target."
_HINT = "Submit a new job for the machine that is there now, or bring the other one back."


@dataclass(frozen=True)
class DeviceAddress:
    """Where a device is had: tracker, key, and the deadlines in seconds of the wait and of one session.

    ``kind`` is TVM's name of what kernels run on there: ``cpu``, ``metal``, ``cuda``. ``lock`` is that of
    ``rpc.quiet`` where the device is this machine, ``blas`` the library that kernels may call, if there is one.
    """

    tracker_host: str
    tracker_port: int
    key: str
    lease_timeout_sec: float
    session_timeout_sec: float
    kind: str = "cpu"
    expected: Expected | None = None
    lock: Path | None = None
    blas: str = ""

    def identify(self, remote: Any) -> str:
        """What the device of a session says that it is. Raises DeviceUnavailable when it is not the one expected."""
        facts = json.loads(remote.get_function("tunesmith.device_facts")())
        problem = self.expected.differs_from(facts) if self.expected else ""
        if problem:
            raise DeviceUnavailable(f"the device {self.key!r} {problem}", _HINT)
        return f"{facts['cpu']} ({facts['mcpu']}, {facts['threads']} threads)"

    def of(self, remote: Any) -> Any:
        """The TVM device of a session."""
        return remote.device(self.kind, 0)

    @contextmanager
    def lease(self) -> Iterator[Any]:
        """Yields a session, see ``rpc.lease.lease``; on this machine no command builds meanwhile."""
        place = (self.tracker_host, self.tracker_port, self.key)
        with (
            measuring(self.lock, _QUIET_SEC),
            lease(*place, self.lease_timeout_sec, self.session_timeout_sec) as session,
        ):
            self.load_blas(session)
            yield session

    def load_blas(self, session: Any) -> None:
        """Before any kernel that calls it. Raises DeviceUnavailable where there is none; another device than the one
        expected is told as that, not by what it lacks."""
        if not self.blas:
            return
        self.identify(session)
        try:
            session.get_function(blas.ASK)(self.blas)
        except Exception as failure:
            _raise_if_lost(session, failure)
            problem = str(failure).strip().splitlines()[-1]
            raise DeviceUnavailable(f"the device {self.key!r} has no {self.blas}: {problem}", _NO_BLAS) from failure


@dataclass(frozen=True)
class Probe:
    """A library to time: its path here and its arguments as (shape, dtype); ``number`` tells it in results.

    Where extents are known only when it runs, ``points`` are arguments to time it with, each with how much it counts.
    ``placing``: it is timed as a model finds it, rather than as its own last run leaves it.
    """

    number: int
    path: str
    arguments: Shapes
    points: Sequence[tuple[Shapes, float]] = ()
    placing: Placing | None = None


@dataclass(frozen=True)
class Measured:
    """Seconds of each repeat, or what went wrong: ``run`` (an error), ``crash`` or ``timeout`` (of the device)."""

    run_secs: list[float] = field(default_factory=list)
    error_class: str = ""
    error: str = ""
    canary_sec: float | None = None
    measured_on: str = ""

    @property
    def seconds(self) -> float | None:
        """The median of the repeats."""
        return median(self.run_secs) if self.run_secs else None


def measure(
    device: DeviceAddress,
    probes: Sequence[Probe],
    cold_weights: bool,
    time_canary: Callable[[Any], float] | None,
    best_sec: float | None,
    on_result: Callable[[Probe, Measured], None],
    wanted: Repeats = USUAL,
) -> None:
    """Time every probe and hand each result over as soon as it is there.

    When a session ends under a probe, the rest go on in a new one. The probe may be innocent: the device was killed, or
    others had used the time up. It is tried once more after all others, alone; only if that session ends too, or if it
    hung for most of the first, it is told a crash or a timeout.
    ``best_sec`` is the fastest known: what is far slower gets a short look only. ``time_canary`` takes a session and
    gives the seconds of the reference kernel, which each of the session's results carries.

    Raises:
        DeviceUnavailable: no device, or another one than expected; probes without a result are simply not measured.
    """
    left, suspects = list(probes), list[Probe]()
    while left or suspects:
        alone = not left
        waiting = left or [suspects.pop(0)]
        looks = sum(max(1, len(probe.points)) for probe in waiting)
        limit_sec = session_sec(device, len(waiting), best_sec) + looks * wanted.more_sec()
        began = time.monotonic()
        try:
            with replace(device, session_timeout_sec=limit_sec).lease() as remote:
                session = Measured(
                    measured_on=device.identify(remote), canary_sec=time_canary(remote) if time_canary else None
                )
                arguments = Arguments(remote, device.of(remote), as_loaded=device.kind == "cpu")
                places = Places(remote)
                while waiting:
                    began = time.monotonic()
                    result = _time(
                        remote, device, arguments, places, waiting[0], cold_weights, best_sec, session, wanted
                    )
                    on_result(waiting.pop(0), result)
                    if result.seconds is not None:
                        best_sec = min(best_sec or result.seconds, result.seconds)
        except SessionLost as lost:
            if not waiting:
                continue
            probe = waiting.pop(0)
            hung = lost.timed_out and time.monotonic() - began > limit_sec / 2
            if alone or hung:
                on_result(probe, Measured(error_class="timeout" if lost.timed_out else "crash", error=lost.message))
            else:
                suspects.append(probe)


def session_sec(device: DeviceAddress, probes: int, best_sec: float | None) -> float:
    """Deadline in seconds of a session that times so many probes: a multiple of what they take on a slow device far
    away, so that one that hangs costs no more; the device's own limit while nobody knows how long a run takes."""
    if best_sec is None:
        return device.session_timeout_sec
    return min(device.session_timeout_sec, _SESSION_SEC + probes * (_PROBE_SEC + _RUNS * best_sec))


def _time(
    remote: Any,
    device: DeviceAddress,
    arguments: Arguments,
    places: Places,
    probe: Probe,
    cold: bool,
    best_sec: float | None,
    session: Measured,
    wanted: Repeats,
) -> Measured:
    try:
        module = load_library(remote, probe.path)
        flush = cold and device.kind == "cpu"  # caches of other devices can't be flushed from here

        def look(count: int) -> list[float]:
            """Seconds of each repeat; where there are points, of what they come to together."""
            total = [0.0] * count
            for shapes, weight in probe.points or [(probe.arguments, 1.0)]:
                if weight:
                    arrays = arguments.of(shapes)
                    placed = places.prepare(probe.placing, shapes, arrays) if probe.placing else ""
                    found = repeats(module, device.of(remote), arrays, flush, replace(wanted, count=count), placed)
                    total = [sum_ + weight * sec for sum_, sec in zip(total, found, strict=True)]
            return total

        return replace(session, run_secs=seconds_of_looks(look, wanted.count, best_sec))
    except Exception as failure:
        _raise_if_lost(remote, failure)
        return replace(session, error_class="run", error=str(failure).strip()[-500:])


def _raise_if_lost(remote: Any, failure: Exception) -> None:
    """Let ``lease`` name a lost session; an error of the candidate's own leaves the session alive."""
    try:
        remote.cpu(0).sync()
    except Exception:
        raise failure from None
