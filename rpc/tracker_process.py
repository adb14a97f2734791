"""TVM's RPC tracker as a process of its own: ``python -m rpc.tracker_process --port 9190``. Ends with its parent."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import logging
import secrets
import socket
import sys
from collections.abc import Collection
from typing import Any

from rpc import addresses
from rpc.lean import without_contents
from rpc.lifeline import die_with_parent
from rpc.local_peers import is_trusted, uid_of
from rpc.logfile import LEVELS, start_logging
from rpc.tracker import PUT, REQUEST, SUCCESS, check_key

without_contents("tvm", "tvm.support", "tvm.rpc")  # the tracker is Python alone: 25 MB in place of 199

from tvm.rpc.tracker import TCPEventHandler, TrackerServerHandler  # noqa: E402

log = logging.getLogger("rpc.tracker")


class _Peer(TCPEventHandler):
    """A connection. One that sends a key which would break the tracker for everybody is closed with a warning."""

    def call_handler(self, args: list[Any]) -> None:
        if args[0] in (PUT, REQUEST):
            check_key(args[1])
        if args[0] == REQUEST:
            _, key, user, priority = args
            self._tracker.request(key, user, priority, _Request(self))
        else:
            super().call_handler(args)


class _Request:
    """A peer's wish for a device; calling it hands the device over and says whether that worked."""

    def __init__(self, peer: _Peer) -> None:
        self.peer = peer

    def __call__(self, value: Any) -> bool:
        try:
            self.peer.ret_value([SUCCESS, value])
        except OSError:
            return False
        return True


class Tracker(TrackerServerHandler):
    """TVM's tracker, which also forgets the requests of clients that have left.

    Of other users of this machine it takes those that are ``trusted``, by uid, alone.
    """

    trusted: Collection[int] = ()

    def _on_event(self, _: int) -> None:
        while True:
            try:
                connection, address = self._sock.accept()
            except BlockingIOError:
                return
            if is_trusted(connection, self.trusted):
                _send_at_once(connection)
                _Peer(self, connection, address)
            else:
                log.warning("turned %s:%d away: another user's process", *address[:2])
                connection.close()

    def close(self, peer: _Peer) -> None:
        """Forget the peer: what it offered and what it waits for."""
        super().close(peer)
        for scheduler in self._scheduler_map.values():
            scheduler._requests = [entry for entry in scheduler._requests if entry[-1].peer is not peer]
            heapq.heapify(scheduler._requests)


def _send_at_once(connection: socket.socket) -> None:
    """TVM sends the size of an answer, then the answer: 40 ms, where the second waits for the first's receipt."""
    with contextlib.suppress(OSError):  # the peer has left
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _user(name: str) -> int:
    try:
        return uid_of(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="Run the RPC tracker. It has no authentication: keep it on loopback.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=addresses.port, default=9190, help="port to listen on (default: %(default)s)")
    parser.add_argument("--trust", type=_user, action="append", default=[], help="another user who may reach it")
    parser.add_argument("--log-level", choices=LEVELS, default="INFO", help="what is logged (default: %(default)s)")
    args = parser.parse_args()
    die_with_parent()
    start_logging(args.log_level)
    logging.getLogger("RPCTracker").setLevel(args.log_level)  # TVM gives its own a level at import
    try:
        listener = socket.create_server((args.host, args.port), backlog=64)
    except OSError as error:
        sys.exit(f"the tracker can't listen on {args.host}:{args.port}: {error.strerror}")
    print(f"tracker listens on {args.host}:{args.port}", flush=True)
    asyncio.set_event_loop(asyncio.new_event_loop())
    tracker = Tracker(listener, stop_key=secrets.token_hex())
    tracker.trusted = args.trust
    tracker.run()


if __name__ == "__main__":
    main()
