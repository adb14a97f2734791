"""What a confined process may be asked in tests."""

from __future__ import annotations

import os
import signal
import time


def prepare() -> None:
    """Nothing is needed."""


def answer(question: tuple[str, int]) -> object:
    """The number, unless it is to die, spin, stop, fail, want so many MiB, or say what it sees of the environment."""
    word, number = question
    match word:
        case "die":
            os.kill(os.getpid(), number)
        case "spin":
            while True:
                pass
        case "hang":
            time.sleep(1000)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "fail":
            raise ValueError("one line\nand why")
        case "eat":
            return len(bytearray(number * 2**20))
        case "pid":
            return os.getpid()
        case "environment":
            return sorted(os.environ)
    return number
