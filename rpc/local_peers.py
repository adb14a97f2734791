"""Which user of this machine is at the other end of a connection: loopback alone is open to all of them.

Linux tells the owner of every socket in ``/proc/net/tcp`` (format: the kernel's Documentation/networking/proc_net_tcp).
macOS tells that to root alone.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import socket
import sys
from collections.abc import Collection
from pathlib import Path

_TABLES = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}
_ESTABLISHED = "01"  # of a socket in another state, which its process has closed, root is told as the owner
_LOOKS = 3  # a table that changes while it is read may lack a line
_LOCAL, _STATE, _UID = 1, 3, 7  # columns


def is_trusted(connection: socket.socket, others: Collection[int] = ()) -> bool:
    """Is the peer this user's process, root's, or one of the ``others`` by uid?

    True of peers elsewhere, and where the system does not tell; False of one that has left.
    """
    try:
        host, port = connection.getpeername()[:2]
    except OSError:
        return False
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    table = _TABLES[address.version]
    if not address.is_loopback or not table.exists():
        return True
    for _ in range(_LOOKS):
        found = owner(table.read_text(), address, port)
        if found is not None:
            return found in {0, os.getuid(), *others}
    return False


def owner(table: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> int | None:
    """The user whose open socket has this local address; None when there is none."""
    wanted = _as_the_kernel_writes(address, port)
    for line in table.splitlines()[1:]:
        words = line.split()
        if words[_LOCAL] == wanted and words[_STATE] == _ESTABLISHED:
            return int(words[_UID])
    return None


def uid_of(name: str) -> int:
    """The uid of a user of this machine. Raises ValueError when there is none."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ValueError(f"this machine has no user {name!r}") from None


def _as_the_kernel_writes(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> str:
    """Each 32-bit word as a number of this machine's, then the port: ``0100007F:1F90`` on a little-endian one."""
    packed = address.packed
    words = [int.from_bytes(packed[n : n + 4], byteorder=sys.byteorder) for n in range(0, len(packed), 4)]
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
