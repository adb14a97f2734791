"""Times of finals that were taken before: of the same kernels, of the same sizes, on the same device.

What finals decide depends on nothing else, so another job of the same kernels need not take them again. A kernel is
known by its scheduled module: where a release schedules or writes one otherwise, it is another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from rpc.versions import PINS
from tuner.db import final_times
from tuner.db.engine import read, write
from tuner.db.models import Device, FinalTimes

_WAY = 2  # how finals take times; another number where they take them otherwise
_MACHINE = ("cpu", "mcpu", "threads", "cache_bytes", "os")  # facts of a device


@dataclass(frozen=True)
class Times:
    """Seconds of each repeat by kernel, and the reference kernel's meanwhile."""

    run_secs: dict[str, list[float]]
    canary_secs: list[float]


class Remembered:
    """Times on one device, which a database keeps for a week; ``may_recall``: may they take the place of new ones?"""

    def __init__(self, engine: Engine, device: str, may_recall: bool = True) -> None:
        with read(engine) as db:
            self._place = place(db, device)
        self._engine = engine
        self._may_recall = may_recall

    def find(self, kernels: Sequence[str], **terms: Any) -> Times | None:
        """What these kernels took side by side on such terms; None where nobody knows."""
        if not self._may_recall:
            return None
        with read(self._engine) as db:
            row = final_times.find(db, self._key(kernels, terms))
        return None if row is None else Times(dict(row.run_secs), list(row.canary_secs))

    def keep(self, times: Times, **terms: Any) -> None:
        """Keep what was timed."""
        key = self._key(list(times.run_secs), terms)
        with write(self._engine) as db:
            final_times.keep(db, FinalTimes(key=key, run_secs=times.run_secs, canary_secs=times.canary_secs))

    def _key(self, kernels: Sequence[str], terms: Mapping[str, Any]) -> str:
        known = {"way": _WAY, "tvm": PINS["apache-tvm"], "place": self._place, "kernels": sorted(set(kernels)), **terms}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def place(session: Session, device: str) -> dict[str, Any]:
    """What tells a device of this key from another machine that could have it."""
    row = session.get(Device, device)
    facts = row.facts if row is not None else {}
    return {"device": device, **{name: facts.get(name) for name in _MACHINE}}
