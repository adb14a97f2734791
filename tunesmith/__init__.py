"""TuneSmith in your own Python: load what was made, and talk to a service that makes it.

    import tunesmith

    artifact = tunesmith.load("bert.tar")
    outputs = artifact.run(input_ids=ids, attention_mask=mask)

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner import errors, schemas
    from tuner.artifact.members import ArtifactError
    from tuner.client.aio import AsyncClient
    from tuner.client.http import Client
    from tuner.errors import TunerError
    from tunesmith.artifact import Artifact, load
    from tunesmith.optimizing import optimize

__all__ = ["Artifact", "ArtifactError", "AsyncClient", "Client", "TunerError", "errors", "load", "optimize", "schemas"]

_HOMES = {
    "Artifact": "tunesmith.artifact",
    "ArtifactError": "tuner.artifact.members",
    "AsyncClient": "tuner.client.aio",
    "Client": "tuner.client.http",
    "TunerError": "tuner.errors",
    "load": "tunesmith.artifact",
    "optimize": "tunesmith.optimizing",
}
_MODULES = ("errors", "schemas")


def __getattr__(name: str) -> Any:
    """What is public, from its home, once it is asked for (PEP 562)."""
    if name in _MODULES:
        found: Any = import_module(f"tunesmith.{name}")
    elif name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'tunesmith' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
