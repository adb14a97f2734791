"""One warm process that makes libraries, from the side of those who wait for it."""

from __future__ import annotations

from dataclasses import dataclass

from rpc.confined import Confined, Died, Failed, Overdue

_BUILDS = 2000  # LLVM's contexts leak a little with each build: a process is replaced before that shows
_WORKED = 0.2  # of its deadline a build must have computed to be slow by itself, not for want of a core
_MEMORY_BYTES = 4 * 2**30  # a build of a large kernel takes some hundred MiB


@dataclass(frozen=True)
class BuildJob:
    """One library to make: module JSON, target JSON, where to write it.

    ``rewritten_arguments``: constants are expected in the layout the schedule chose (what is measured and shipped);
    else the library takes the workload's own layout and rewrites inside, slow: outputs are checked with it.
    """

    tir: str
    target: str
    path: str
    rewritten_arguments: bool = True


@dataclass(frozen=True)
class Built:
    """A library's path, or what went wrong: class ``build`` or ``build_timeout`` and a message.

    ``is_certain``: it computed up to its deadline; another try would end like this one.
    """

    path: str = ""
    error_class: str = ""
    error: str = ""
    is_certain: bool = False


class BuildProcess:
    """A build process; use it from one thread at a time. It ends with the thread that started it."""

    def __init__(self) -> None:
        self._process = Confined("tuner.measuring.build_worker", _MEMORY_BYTES)

    def build(self, job: BuildJob, timeout_sec: float) -> Built:
        """Make one library within ``timeout_sec``.

        Raises:
            OSError: no process could be started.
        """
        if self._process.asked >= _BUILDS:
            self.close()
        try:
            return Built(path=self._process.ask(job, timeout_sec))
        except Overdue as late:
            return Built("", "build_timeout", f"the build {late}", is_certain=late.cpu_sec > _WORKED * timeout_sec)
        except Died as death:
            return Built(error_class="build", error=f"the compiler {death}")
        except Failed as failure:
            return Built(error_class="build", error=str(failure))

    def close(self) -> None:
        """End the process now, with what it started."""
        self._process.close()
