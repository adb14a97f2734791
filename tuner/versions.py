"""The start-up guard against versions of TVM that are known to crash."""

from __future__ import annotations

import rpc.errors
from rpc import versions
from tuner.errors import WrongVersion


def check_versions() -> None:
    """Refuse to go on with another apache-tvm or apache-tvm-ffi than the pinned ones.

    Raises:
        WrongVersion: names the pin; its hint is the pip command that mends it.
    """
    try:
        versions.check_versions()
    except rpc.errors.WrongVersion as error:
        raise WrongVersion(error.message, error.hint) from error
