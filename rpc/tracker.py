"""Talking to a TVM RPC tracker without TVM: small JSON messages over TCP, each with a deadline.

The protocol is that of ``tvm.rpc.tracker`` (handshake by magic number, then ``int32 size, JSON`` both ways).
"""

from __future__ import annotations

import json
import socket
import struct
import time
from types import TracebackType
from typing import Any

TRACKER_MAGIC = 0x2F271
SUCCESS, PUT, REQUEST, UPDATE_INFO, SUMMARY, PENDING_MATCHKEYS = 0, 3, 4, 5, 6, 7
_MAX_MESSAGE_BYTES = 1 << 20
_SERVER_PREFIX = "server:"

Summary = dict[str, Any]


class TrackerConnection:
    """One connection to a tracker; every call answers or raises OSError within its time-out."""

    def __init__(self, host: str, port: int, timeout_sec: float) -> None:
        until = time.monotonic() + timeout_sec
        self._timeout_sec = timeout_sec
        self.socket = socket.create_connection((host, port), timeout=timeout_sec)
        try:
            self.socket.sendall(struct.pack("<i", TRACKER_MAGIC))
            (magic,) = struct.unpack("<i", receive_exactly(self.socket, 4, until))
            if magic != TRACKER_MAGIC:
                raise ConnectionError(f"{host}:{port} is no RPC tracker")
        except BaseException:
            self.close()
            raise

    def call(self, message: list[Any], timeout_sec: float | None = None) -> Any:
        """Send one message and return the decoded answer; ``timeout_sec`` replaces the connection's time-out."""
        if timeout_sec is not None:
            self._timeout_sec = timeout_sec
        until = time.monotonic() + self._timeout_sec
        body = json.dumps(message).encode()
        self.socket.settimeout(self._timeout_sec)
        self.socket.sendall(struct.pack("<i", len(body)) + body)
        (size,) = struct.unpack("<i", receive_exactly(self.socket, 4, until))
        if not 0 < size <= _MAX_MESSAGE_BYTES:
            raise ConnectionError(f"the tracker sent a message of {size} bytes")
        return json.loads(receive_exactly(self.socket, size, until))

    def close(self) -> None:
        """End the connection; the tracker forgets what was offered over it."""
        self.socket.close()

    def __enter__(self) -> TrackerConnection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def summary(host: str, port: int, timeout_sec: float = 2.0) -> Summary:
    """What the tracker knows: ``server_info`` (one entry per registered device) and ``queue_info`` (per key).

    Raises:
        OSError: the tracker does not answer in time, or what answers is no tracker.
    """
    with TrackerConnection(host, port, timeout_sec) as connection:
        code, value = connection.call([SUMMARY])
    if code != SUCCESS or not isinstance(value, dict):
        raise ConnectionError(f"{host}:{port} answered a summary with code {code}")
    return value


def registered(summary: Summary) -> dict[str, list[dict[str, Any]]]:
    """Devices connected now, busy or free, by key; an entry holds ``addr`` and, from our agent, ``facts``."""
    devices: dict[str, list[dict[str, Any]]] = {}
    entries = summary.get("server_info", [])
    for info in entries if isinstance(entries, list) else []:
        if not isinstance(info, dict):
            continue
        devices.setdefault(str(info.get("key", "")).removeprefix(_SERVER_PREFIX), []).append(info)
    return devices


def count_registered(summary: Summary, key: str) -> int:
    """Devices with this key that are connected, busy or free."""
    return len(registered(summary).get(key, []))


def count_free(summary: Summary, key: str) -> int:
    """Devices with this key that wait for a session."""
    return int(summary.get("queue_info", {}).get(key, {}).get("free", 0))


def was_offered(summary: Summary, key: str) -> bool:
    """Has a device with this key been there since the tracker started, even if it is gone now?"""
    return key in summary.get("queue_info", {})


def check_key(key: str) -> str:
    """The key itself.

    Raises:
        ValueError: the key is empty or holds a colon or white space, which break the tracker's own key parsing.
    """
    if not key or ":" in key or any(c.isspace() for c in key):
        raise ValueError(f"device key {key!r} must not be empty or hold a colon or white space")
    return key


def receive_exactly(connection: socket.socket, size: int, until: float) -> bytes:
    """Read ``size`` bytes by ``until`` (monotonic seconds), however slowly they come.

    Raises:
        TimeoutError: they did not.
        ConnectionError: the peer closed first.
    """
    chunks: list[bytes] = []
    while size:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        connection.settimeout(left)
        chunk = connection.recv(size)
        if not chunk:
            raise ConnectionError("the peer closed the connection")
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)
