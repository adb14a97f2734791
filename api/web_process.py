"""``python -m api.web_process``: the web process, with bounds on what its clients may take of it."""

from __future__ import annotations

import socket

import uvicorn

from api.app import create_app
from tuner.config import DEFAULT_PORT, Settings
from tuner.jobs import garbage

MAX_CONNECTIONS = 512  # beyond these new ones are turned away, in plain text: nobody has read their request
STUCK_MS = 60_000
SHUTDOWN_SEC = 2


def main() -> None:
    """Serve until a signal."""
    settings = Settings()
    app = create_app(settings)
    garbage.collect()
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level=settings.log_level.lower(),
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_SEC,
    )
    with listen(settings.host, settings.port or DEFAULT_PORT) as listener:
        uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """The socket that is listened on. Connections of clients that take nothing end after a while, where that can be
    told to the kernel: closed by us, they would stay until all that was sent is taken."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.create_server(address[:2], family=family, backlog=256)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections have it from the socket that took them
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK_MS)
    return listener


if __name__ == "__main__":
    main()
