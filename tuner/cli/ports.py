"""Choosing TCP ports."""

from __future__ import annotations

import socket

from tuner.errors import PortTaken

_TRIES = 50


def choose_port(host: str, wanted: int | None, default: int, setting: str) -> int:
    """The port to listen on: ``wanted`` itself, any free one if it is 0, else the first free one from ``default`` up.

    Raises:
        PortTaken: the wanted port is in use; the hint names the ``setting`` to change.
    """
    if wanted == 0:
        return any_free_port(host)
    if wanted is not None:
        if not is_free(host, wanted):
            raise PortTaken(f"Port {wanted} of {host} is in use.", f"Set {setting} to another one, or leave it unset.")
        return wanted
    for port in range(default, default + _TRIES):
        if is_free(host, port):
            return port
    raise PortTaken(f"No port from {default} to {default + _TRIES - 1} of {host} is free.", f"Set {setting}.")


def is_free(host: str, port: int) -> bool:
    """Can we listen there?"""
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True


def any_free_port(host: str) -> int:
    """A port nobody listens on just now."""
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])
