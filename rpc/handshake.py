"""The first words of TVM's RPC between a client and a device, without TVM: enough to see whether anybody is in."""

from __future__ import annotations

import socket
import struct

MAGIC = 0xFF271  # tvm/rpc/base.py; +0 is success, +2 a match key that is not expected
MISMATCH = MAGIC + 2
KNOCK = "knock"  # the match key of who wants no session but to know whether the device's loop turns


def greet(address: tuple[str, int], match_key: str, timeout_sec: float) -> int:
    """The code that a device answers to a client with this key; a session that it then offers is left at once.

    Raises:
        OSError: nobody answers in time.
    """
    with socket.create_connection(address, timeout=timeout_sec) as connection:
        key = f"client:{match_key}".encode()
        connection.sendall(struct.pack("<ii", MAGIC, len(key)) + key)
        answer = connection.recv(4, socket.MSG_WAITALL)
    if len(answer) < 4:
        raise ConnectionError(f"{address[0]}:{address[1]} hung up")
    return int(struct.unpack("<i", answer)[0])


def knock(address: tuple[str, int], timeout_sec: float) -> bool:
    """Does the device at ``address`` answer, be it busy or free?"""
    try:
        return greet(address, KNOCK, timeout_sec) == MISMATCH
    except OSError:
        return False
