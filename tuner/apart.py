"""Work on what others wrote, done by a process that may die of it: what it refuses is refused here, in its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rpc.confined import Confined, Died, Failed, Overdue
from tuner.errors import StageFailed, TunerError, all_error_classes


@dataclass(frozen=True)
class Limits:
    """Seconds until the process is ended, and bytes of memory of its own, libraries not counted."""

    seconds: float
    memory_bytes: int


def answered(module: str, question: Any, limits: Limits, blame: Callable[[str], TunerError]) -> Any:
    """What a process of ``module`` makes of a question; its ``answer`` says it through ``told``.

    Raises what the work raises, or what ``blame`` gives for its end: "the process took more than 60 s". Only what ends
    two processes is to blame for it: anybody may kill one.
    """
    process = Confined(module, limits.memory_bytes)
    try:
        return asked(process, question, limits.seconds, blame)
    finally:
        process.close()


def asked(process: Confined, question: Any, timeout_sec: float, blame: Callable[[str], TunerError]) -> Any:
    """As ``answered``, of a process that is kept."""
    try:
        try:
            said = process.ask(question, timeout_sec)
        except Overdue:
            raise
        except Died:
            said = process.ask(question, timeout_sec)
    except Died as death:
        raise blame(f"the process {death}") from None
    except Failed as failure:
        raise blame(str(failure)) from None
    if error := said.get("error"):
        kinds = {kind.code: kind for kind in all_error_classes()}
        raise kinds.get(error["code"], StageFailed)(error["message"], error["hint"])
    return said["made"]


def told(work: Callable[[], Any]) -> dict[str, Any]:
    """What came of the work, as ``answered`` takes it."""
    try:
        return {"made": work()}
    except TunerError as error:
        return {"error": error.as_dict()}
