"""Is there an engine, and does it have workers? Asked of its scheduler, without a client that stays connected."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Security

TIMEOUT_SEC = 2.0
# What a question raises when its connection fails; ValueError is tornado's, for one that ends before its handshake.
UNREACHABLE = (OSError, asyncio.TimeoutError, ValueError)


def count_workers(address: str, security: Security | None, timeout_sec: float = TIMEOUT_SEC) -> int | None:
    """How many workers the scheduler at ``address`` has; None when none that takes these certificates answers in time.

    Call it from a thread without an event loop.
    """
    # Loaded when it is asked first: 30 MB that a process which never asks does without.
    from distributed.core import rpc

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # who does not answer is ours to report

    async def ask() -> int:
        certificates = security.get_connection_args("client") if security else {}
        scheduler = rpc(address, timeout=timeout_sec, connection_args=certificates)
        try:
            return len((await scheduler.identity())["workers"])
        finally:
            scheduler.close_comms()
            await scheduler.close_rpc()

    try:
        return asyncio.run(asyncio.wait_for(ask(), timeout_sec))
    except (*UNREACHABLE, KeyError, TypeError):
        return None
