"""What a build process is asked, and what comes of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Protocol

from rpc.confined import Confined, Died, Failed, Overdue

_QUESTIONS = 2000  # LLVM's contexts leak a little with each build: a process is replaced before that shows
_WORKED = 0.2  # of its deadline it must have computed to be slow by itself, not for want of a core
_MEMORY_BYTES = 4 * 2**30  # a build of a large kernel takes some hundred MiB


class Question(Protocol):
    """Work for a build process, which is given it pickled."""

    def answer(self) -> Any:
        """Do it there; gives what JSON holds."""


@dataclass(frozen=True)
class BuildJob:
    """One library to make: module JSON, target JSON, where to write it.

    ``rewritten_arguments``: constants are expected in the layout the schedule chose (what is measured and shipped);
    else the library takes the workload's own layout and rewrites inside, slow: outputs are checked with it.
    ``timeout_sec``: how long it may take, where that is not as usual.
    """

    tir: str
    target: str
    path: str
    rewritten_arguments: bool = True
    timeout_sec: float | None = None

    def answer(self) -> str:
        """Make it, and give its path."""
        from tuner.measuring.build_worker import build

        build(self)
        return os.fspath(self.path)


@dataclass(frozen=True)
class Built:
    """A library's path, or what went wrong: class ``build`` or ``build_timeout`` and a message."""

    path: str = ""
    error_class: str = ""
    error: str = ""


@dataclass(frozen=True)
class Tried:
    """An answer, or the problem that a process had with the question.

    ``is_late``: it had not ended at its deadline; ``is_certain``: it computed up to then, and would the next time.
    """

    answer: Any = None
    problem: str = ""
    is_late: bool = False
    is_certain: bool = False


class BuildProcess:
    """A build process; use it from one thread at a time. It ends with the thread that started it."""

    def __init__(self) -> None:
        self._process = Confined("tuner.measuring.build_worker", _MEMORY_BYTES)

    def ask(self, question: Question, timeout_sec: float) -> Tried:
        """Have it answered within ``timeout_sec``.

        Raises:
            OSError: no process could be started.
        """
        if self._process.asked >= _QUESTIONS:
            self.close()
        try:
            return Tried(self._process.ask(question, timeout_sec))
        except Overdue as late:
            return Tried(problem=f"the process {late}", is_late=True, is_certain=late.cpu_sec > _WORKED * timeout_sec)
        except Died as death:
            return Tried(problem=f"the process {death}")
        except Failed as failure:
            return Tried(problem=str(failure))

    def close(self) -> None:
        """End the process now, with what it started."""
        self._process.close()
