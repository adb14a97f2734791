"""No connection to the engine is left open by a question that was given up."""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from distributed.comm.core import connect
from tornado.iostream import SSLIOStream

from tests.support.engine import engine_settings
from tuner.jobs.engine_tls import security


def test_connection_that_is_given_up_as_it_comes_about_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = security(engine_settings(tmp_path))
    assert certificates is not None
    finish, made = SSLIOStream._finish_ssl_connect, list[SSLIOStream]()

    async def give_up(port: int) -> None:
        attempt = asyncio.create_task(connect(f"tls://127.0.0.1:{port}", **certificates.get_connection_args("client")))

        def cancel_as_it_ends(stream: SSLIOStream) -> None:
            finish(stream)
            attempt.cancel()
            made.append(stream)

        monkeypatch.setattr(SSLIOStream, "_finish_ssl_connect", cancel_as_it_ends)
        with pytest.raises(asyncio.CancelledError):
            await attempt

    context = certificates.get_listen_args("scheduler")["ssl_context"]
    with ThreadPoolExecutor() as thread, socket.create_server(("127.0.0.1", 0)) as server:
        thread.submit(take_one, server, context)
        asyncio.run(give_up(server.getsockname()[1]))
        (stream,) = made
        was_closed = stream.closed()
        stream.close()
    assert was_closed


def take_one(server: socket.socket, context: ssl.SSLContext) -> None:
    """Take one connection and hold it until the other side closes it."""
    plain, _ = server.accept()
    with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as secure:
        secure.recv(1)
