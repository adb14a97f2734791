"""Choosing TCP ports."""

from __future__ import annotations

import errno
import socket

from tuner.errors import InvalidInput, PortTaken

_TRIES = 50


def choose_port(host: str, wanted: int | None, default: int, setting: str) -> int:
    """The port to listen on: ``wanted`` itself, any free one if it is 0, else the first free one from ``default`` up.

    Raises:
        PortTaken: the wanted port is in use; the hint names the ``setting`` to change.
        InvalidInput: whatever is free, we can't listen there: the host is not ours, the port not allowed.
    """
    try:
        if wanted == 0:
            return any_free_port(host)
        if wanted is not None:
            if not is_free(host, wanted):
                hint = f"Set {setting} to another one, or leave it unset."
                raise PortTaken(f"Port {wanted} of {host} is in use.", hint)
            return wanted
        for port in range(default, default + _TRIES):
            if is_free(host, port):
                return port
    except OSError as error:
        where = f"{host}:{default if wanted is None else wanted}"
        reason = str(error.strerror).partition(" (")[0]  # Python appends the address once more
        hint = f"Give an address of this machine, and with {setting} a port that you may use."
        raise InvalidInput(f"The service can't listen on {where}: {reason}.", hint) from error
    raise PortTaken(f"No port from {default} to {default + _TRIES - 1} of {host} is free.", f"Set {setting}.")


def is_free(host: str, port: int) -> bool:
    """Is nobody listening there? Raises OSError when the address itself can't be listened on."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def any_free_port(host: str) -> int:
    """A port nobody listens on just now."""
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])
