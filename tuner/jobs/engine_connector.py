"""Connections to the engine that are given up at the very moment they come about are closed."""

from __future__ import annotations

import asyncio
from typing import Any

from distributed.comm.registry import backends
from distributed.comm.tcp import TLSBackend, TLSConnector
from tornado.iostream import IOStream
from tornado.tcpclient import TCPClient


def install() -> None:
    """Have Dask connect so, in this process, wherever it speaks TLS."""
    backends["tls"] = _Backend()


class _Client(TCPClient):
    """Tornado's own loses a stream whose handshake ends while its waiter is being cancelled, which an attempt of Dask's
    is when it took a fifth of its time: a connection that nobody closes, on both sides, for as long as the loop runs.
    """

    async def connect(self, host: str, *args: Any, ssl_options: Any = None, **kwargs: Any) -> IOStream:
        stream = await super().connect(host, *args, **kwargs)
        if ssl_options is None:
            return stream
        handshake = stream.start_tls(False, ssl_options=ssl_options, server_hostname=host)
        try:
            return await handshake
        except asyncio.CancelledError:
            # Tornado closes what is still under way.
            if not handshake.cancelled() and handshake.exception() is None:
                handshake.result().close()
            raise


class _Connector(TLSConnector):
    client = _Client(resolver=TLSConnector.client.resolver)


class _Backend(TLSBackend):
    def get_connector(self) -> TLSConnector:
        return _Connector()
