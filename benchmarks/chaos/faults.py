"""What goes wrong: a process dies, stands still, has the wrong time; the disk is full; the tracker is not there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.chaos.clock import Clocks
from benchmarks.chaos.service import Service

_WEIGHTS = {"kill": 10, "stop": 5, "disk": 2, "clock": 3, "tracker": 2}
_DAY_SEC = 86_400
_CLONE_NEWNS = 0x0002_0000  # linux/sched.h


class Faults:
    """Strikes a service by chance, the same way for the same seed as far as the service's processes are the same.

    ``clocks`` None and ``disk`` None: these can't be had here, and do not happen. ``disk`` is where the data directory
    is, a disk of its own.
    """

    def __init__(self, service: Service, seed: int, clocks: Clocks | None, disk: Path | None) -> None:
        self.struck: Counter[str] = Counter()
        self.hit: Counter[str] = Counter()
        self._service = service
        self._random = random.Random(seed)
        self._clocks = clocks
        self._filler = disk / "filler" if disk else None
        self._to_heal: list[tuple[float, Callable[[], None]]] = []
        had = {"clock": clocks is not None, "disk": disk is not None}
        self._kinds = [kind for kind in _WEIGHTS if had.get(kind, True)]

    def strike(self) -> str:
        """One fault; says what it is. Empty when there is nobody to strike just now."""
        kind = self._random.choices(self._kinds, [_WEIGHTS[kind] for kind in self._kinds])[0]
        what = {
            "kill": self._kill,
            "stop": self._stop,
            "disk": self._fill_disk,
            "clock": self._shift_clock,
            "tracker": self._take_tracker,
        }[kind]()
        if what:
            self.struck[kind] += 1
        return what

    def heal(self, all_of_it: bool = False) -> None:
        """End what has lasted long enough."""
        now = time.monotonic()
        due = [cure for at, cure in self._to_heal if all_of_it or at <= now]
        self._to_heal = [] if all_of_it else [entry for entry in self._to_heal if entry[0] > now]
        for cure in due:
            cure()

    def pause_sec(self, every_sec: float) -> float:
        """How long to wait for the next one."""
        return self._random.uniform(0.5, 1.5) * every_sec

    def _anybody(self) -> psutil.Process | None:
        tree = self._service.tree()
        if not tree:
            return None
        victim = self._random.choice(tree)
        self.hit[_role(victim, tree[0])] += 1
        return victim

    def _kill(self) -> str:
        victim = self._anybody()
        if victim is None:
            return ""
        name = _named(victim)
        with contextlib.suppress(psutil.Error):
            victim.kill()
        return f"kill -9 {name}"

    def _stop(self) -> str:
        victim = self._anybody()
        if victim is None:
            return ""
        seconds = self._random.uniform(1.0, 25.0)
        name = _named(victim)
        with contextlib.suppress(psutil.Error):
            victim.suspend()
        self._later(seconds, lambda: _resume(victim))
        return f"stop {name} for {seconds:.0f} s"

    def _fill_disk(self) -> str:
        assert self._filler is not None
        filler, seconds = self._filler, self._random.uniform(1.0, 6.0)
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 2**16)
        self._later(seconds, lambda: filler.unlink(missing_ok=True))
        return f"fill the disk for {seconds:.0f} s"

    def _shift_clock(self) -> str:
        assert self._clocks is not None
        victim, clocks = self._anybody(), self._clocks
        if victim is None:
            return ""
        seconds, jump = self._random.uniform(5.0, 20.0), self._random.randint(-_DAY_SEC, _DAY_SEC)
        clocks.shift(victim.pid, jump)
        self._later(seconds, lambda: clocks.shift(victim.pid, 0))
        return f"shift the clock of {_named(victim)} by {jump} s for {seconds:.0f} s"

    def _take_tracker(self) -> str:
        """Kill it and whoever takes its place."""
        seconds = self._random.uniform(1.0, 6.0)
        end = time.monotonic() + seconds
        self.hit["tracker"] += 1
        while time.monotonic() < end:
            tracker = self._service.part("rpc.tracker_process")
            with contextlib.suppress(psutil.Error):
                if tracker:
                    tracker.kill()
            time.sleep(0.1)
        return f"take the tracker away for {seconds:.0f} s"

    def _later(self, seconds: float, cure: Callable[[], None]) -> None:
        self._to_heal.append((time.monotonic() + seconds, cure))


def small_disk(folder: Path, mebibytes: int) -> str:
    """Mount a disk of memory at ``folder``; the reason where that can't be had, else nothing.

    Nobody but this process and those it starts sees it, and it goes with them, however they end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return "only root mounts a small disk"
    try:
        _have_own_mounts()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no mounts of its own can be had: {error}"
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def _have_own_mounts() -> None:
    """unshare(2): what is mounted from here on is seen by this thread and by what it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)


def unmount(folder: Path) -> None:
    """Let go of a small disk."""
    subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def _resume(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.SIGCONT)


_ROLES = {
    "rpc.tracker_process": "tracker",
    "rpc.agent": "device",
    "tuner.jobs.engine_process": "engine",
    "api.app:create_app": "web",
    "tuner.jobs.coordinator": "coordinator",
    "tuner.measuring.build_worker": "build process",
    "tuner.bench.process": "benchmark",
}


def _role(process: psutil.Process, top: psutil.Process) -> str:
    """What a process is there for."""
    if process.pid == top.pid:
        return "supervisor"
    with contextlib.suppress(psutil.Error):
        command = process.cmdline()
        for word, role in _ROLES.items():
            if word in command:
                above = process.parent()
                return "session" if role == "device" and above and word in above.cmdline() else role
        text = " ".join(command)
        for word, role in (("resource_tracker", "resource tracker"), ("spawn_main", "worker")):
            if word in text:
                return role
        return process.name()
    return "gone"


def _named(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        words = [word for word in process.cmdline() if not word.startswith(("-", "/"))]
        return f"{process.pid} ({' '.join(words[:2])[:60] or process.name()})"
    return f"{process.pid} (gone)"
