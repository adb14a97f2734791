"""Opens a runtime that reads texts, in a process of its own: ``tuner.client.side_by_side`` starts it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tuner.bench.turns import Opened, Order, Turns
from tuner.client.runtimes import opened

LOGITS = "logits"


def prepare() -> None:
    """Nothing is loaded beforehand: what loading takes is part of what is timed."""


def _opened(order: Order) -> Opened:
    call = opened(order["kind"], Path(order["place"]), order["threads"])
    return Opened(lambda text: partial(call, dict(text)), [LOGITS])


answer = Turns(_opened).answer
