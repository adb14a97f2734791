"""Is the device that measures the one that its records will be filed under? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.targets import triples

_SAYS_NOTHING = ("", "generic")  # an mcpu that LLVM could not find out, as on an emulated machine


@dataclass(frozen=True)
class Expected:
    """The CPU of a job's target: LLVM's name, architecture, and threads (None: any number)."""

    mcpu: str
    architecture: str
    threads: int | None = None

    def differs_from(self, facts: Mapping[str, Any]) -> str:
        """How a device of these facts is another one, as the rest of a sentence; empty when it is not."""
        found = triples.architecture({"kind": "llvm", "mtriple": facts["mtriple"]})
        if found != self.architecture:
            return f"is of {found}, and the job's target is {self.architecture}"
        if facts["mcpu"] not in (*_SAYS_NOTHING, self.mcpu):
            return f"is a {facts['mcpu']} now, and the job measures for {self.mcpu}"
        if self.threads is not None and facts["threads"] != self.threads:
            return f"measures with {facts['threads']} threads now, and the job's records are of {self.threads}"
        return ""


def expected_of(target: Mapping[str, Any], exact: bool) -> Expected | None:
    """What a named target's device must be, with ``exact`` its threads too; None where the target tells no CPU."""
    host = triples.host_of(target)
    mcpu = str(host.get("mcpu", ""))
    if not mcpu:
        return None
    return Expected(mcpu, triples.architecture(target), target.get("num-cores") if exact else None)
