"""This process in the place of a device: what crashes here takes it along."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tvm

import rpc.device_functions  # noqa: F401  what devices offer
from rpc.facts import device_facts
from tuner.measuring.identity import expected_of
from tuner.measuring.measure import DeviceAddress

_LONGEST_SEC = 600.0


class Here(DeviceAddress):
    """Its sessions are of this process."""

    @contextmanager
    def lease(self) -> Iterator[Any]:
        """Yields a session, which has no deadline: whoever asked this process has one."""
        yield tvm.rpc.LocalSession()


def here() -> Here:
    """This process."""
    return Here("", 0, "here", 0.0, _LONGEST_SEC)


def why_not_here(target: Mapping[str, Any]) -> str:
    """Why what was made for a target can't be run here, as the rest of a sentence; empty where it can."""
    expected = expected_of(target, exact=False)
    if target["kind"] != "llvm" or expected is None:
        return f"is for another device than this machine's processor ({json.dumps(dict(target))[:120]})"
    if differs := expected.differs_from(device_facts()):
        return f"can't be run here: this machine {differs}"
    return ""
