"""The tracker's client without TVM."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rpc import tracker
from tests.support.processes import patience, within

SUMMARY: dict[str, Any] = {
    "queue_info": {"local": {"free": 1, "pending": 2}, "gone": {"free": 0, "pending": 0}},
    "server_info": [
        {"key": "server:local", "addr": ["127.0.0.1", 1], "facts": {"cpu": "one"}},
        {"key": "server:local", "addr": ["127.0.0.1", 2]},
        {"key": "server:m1", "addr": ["10.0.0.2", 9090]},
    ],
}


@contextmanager
def peer(*answers: bytes) -> Iterator[tuple[str, int]]:
    """A server that sends each answer after having read something; with none it stays silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionResetError):  # the client may leave early
                for answer in answers:
                    connection.recv(4096)
                    connection.sendall(answer)
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join()


def message(value: Any) -> bytes:
    body = json.dumps(value).encode()
    return struct.pack("<i", len(body)) + body


MAGIC = struct.pack("<i", tracker.TRACKER_MAGIC)


def test_summary_is_read_from_the_wire() -> None:
    with peer(MAGIC, message([0, SUMMARY])) as address:
        assert tracker.summary(*address, patience(2)) == SUMMARY


def test_silent_peer_costs_no_more_than_the_timeout() -> None:
    with peer() as address, within(2), pytest.raises(TimeoutError):
        tracker.summary(*address, timeout_sec=0.2)


def test_peer_that_answers_byte_by_byte_costs_no_more_than_the_timeout() -> None:
    ours, theirs = socket.socketpair()
    done = threading.Event()

    def trickle() -> None:
        while not done.wait(0.05):
            theirs.sendall(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    with ours, theirs:
        with within(2), pytest.raises(TimeoutError):
            tracker.receive_exactly(ours, 1000, time.monotonic() + 0.3)
        done.set()
        thread.join()


@pytest.mark.parametrize(
    "answers",
    [(b"HTTP/1.1 400 Bad\r\n",), (MAGIC, struct.pack("<i", 1 << 30)), (MAGIC, message([-1, None]))],
    ids=["another protocol", "a size nobody sends", "a failure code"],
)
def test_peer_that_is_no_tracker_is_an_oserror(answers: tuple[bytes, ...]) -> None:
    with peer(*answers) as address, pytest.raises(OSError, match=r"tracker|answered"):
        tracker.summary(*address, patience(2))


def test_registered_devices_are_found_busy_or_free() -> None:
    assert tracker.count_registered(SUMMARY, "local") == 2
    assert tracker.count_registered(SUMMARY, "gone") == 0
    assert tracker.count_free(SUMMARY, "local") == 1
    assert tracker.count_free(SUMMARY, "never") == 0
    assert tracker.registered(SUMMARY)["local"][0]["facts"] == {"cpu": "one"}


def test_key_that_was_there_once_is_told_from_one_that_never_was() -> None:
    assert tracker.was_offered(SUMMARY, "gone")
    assert not tracker.was_offered(SUMMARY, "never")


@pytest.mark.parametrize("key", ["", "a:b", "a b", "a\n"])
def test_key_that_would_break_the_tracker_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="device key"):
        tracker.check_key(key)


def test_ordinary_key_is_taken() -> None:
    assert tracker.check_key("m1-mini_2") == "m1-mini_2"
