"""Choosing TCP ports."""

from __future__ import annotations

import errno
import random
import socket
from contextlib import ExitStack
from pathlib import Path

from rpc.addresses import MAX_PORT
from tuner.errors import InvalidInput, PortTaken

_TRIES = 50
_FIRST_OF_NOBODY = 10_000  # well-known services have lower ones


def choose_port(host: str, wanted: int | None, default: int, setting: str, claims: ExitStack) -> int:
    """The port to listen on: ``wanted`` itself, any free one if it is 0, else the first free one from ``default`` up.

    Who chooses from ``default`` up at the same moment gets another one, until ``claims`` is closed.

    Raises:
        PortTaken: the wanted port is in use; the hint names the ``setting`` to change.
        InvalidInput: whatever is free, we can't listen there: the host is not ours, the port not allowed.
    """
    try:
        if wanted == 0:
            return lasting_port(host)
        if wanted is not None:
            if not is_free(host, wanted):
                hint = f"Set {setting} to another one, or leave it unset."
                raise PortTaken(f"Port {wanted} of {host} is in use.", hint)
            return wanted
        for port in range(default, default + _TRIES):
            if _claim(port, claims) and is_free(host, port):
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


def _claim(port: int, claims: ExitStack) -> bool:
    """Tell whoever starts at the same moment that we shall listen there: the port of that number for datagrams, which
    nobody else here wants, is had by one of them. False: by another."""
    mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        mark.bind(("127.0.0.1", port))
    except OSError:
        mark.close()
        return False
    claims.callback(mark.close)
    return True


def lasting_port(host: str) -> int:
    """A free port that no outgoing connection can take while its listener is away, to be started or started again.

    Raises PortTaken when there is none.
    """
    first, last = _outgoing_ports()
    candidates = [port for port in range(_FIRST_OF_NOBODY, MAX_PORT + 1) if not first <= port <= last]
    for port in random.sample(candidates, min(_TRIES, len(candidates))):
        if is_free(host, port):
            return port
    hint = "Keep some out of net.ipv4.ip_local_port_range."
    raise PortTaken(f"No port of {host} from {_FIRST_OF_NOBODY} up is free of outgoing connections.", hint)


def _outgoing_ports() -> tuple[int, int]:
    """Those that the kernel gives to outgoing connections."""
    try:
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except OSError:
        return 49152, MAX_PORT  # RFC 6335, as macOS has it
    return int(first), int(last)
