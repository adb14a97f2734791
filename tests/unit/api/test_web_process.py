from __future__ import annotations

import socket

import pytest

from api import web_process


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the kernel can't be told")
def test_connections_end_by_themselves_when_their_clients_take_nothing() -> None:
    with web_process.listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as client:
        connection, _ = listener.accept()
        with connection:
            told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert told == web_process.STUCK_MS
            assert client.fileno() >= 0


def test_any_address_can_be_listened_on() -> None:
    with web_process.listen("localhost", 0) as listener:
        assert listener.getsockname()[1] > 0
