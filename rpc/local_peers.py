"""Which user of this machine is at the other end of a connection: loopback alone is open to all of them.

Linux tells the owner of a socket whose ends it is given (``man 7 sock_diag``), in 15 us. Where a sandbox keeps that
back, it is looked for in ``/proc/net/tcp`` (format: the kernel's Documentation/networking/proc_net_tcp), which takes
5 ms. macOS tells it to root alone.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import socket
import struct
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_TABLES = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}
_ESTABLISHED = "01"  # of a socket in another state, which its process has closed, root is told as the owner
_LOOKS = 3  # a table that changes while it is read may lack a line
_LOCAL, _STATE, _UID = 1, 3, 7  # columns
# linux/netlink.h, sock_diag.h, inet_diag.h
_SOCK_DIAG, _BY_FAMILY, _REQUEST, _ANY_COOKIE = 4, 20, 1, b"\xff" * 8
_HEADER, _QUESTION, _ENDS = struct.Struct("=IHHII"), struct.Struct("=BBBxI"), struct.Struct("!HH16s16s4x8s")
_ANSWER = struct.Struct(f"=16xxBxx{_ENDS.size}x12xI")  # the state and the owner
_WAIT_SEC = 1.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_trusted(connection: socket.socket, others: Collection[int] = ()) -> bool:
    """Is the peer this user's process, root's, or one of the ``others`` by uid?

    True of peers elsewhere, and where the system does not tell; False of one that has left.
    """
    try:
        peer, here = _address(connection.getpeername()), _address(connection.getsockname())
    except OSError:
        return False
    table = _TABLES[peer[0].version]
    if not peer[0].is_loopback or not table.exists():
        return True
    found = told(peer, here)
    for _ in range(_LOOKS):
        if found is None:
            found = owner(table.read_text(), *peer)
    return found in {0, os.getuid(), *others}


def told(one: tuple[Address, int], other: tuple[Address, int]) -> int | None:
    """The user whose open socket has the first address and port and goes to the other; None where Linux does not
    tell, or there is none."""
    family = socket.AF_INET if one[0].version == 4 else socket.AF_INET6
    ends = _ENDS.pack(one[1], other[1], one[0].packed, other[0].packed, _ANY_COOKIE)
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 1 << int(_ESTABLISHED, 16)) + ends
    header = _HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST, 0, 0)
    with suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(_WAIT_SEC)
        kernel.send(header + question)
        answer = kernel.recv(4096)
        if _HEADER.unpack_from(answer)[1] == _BY_FAMILY:
            state, uid = _ANSWER.unpack_from(answer)
            return int(uid) if state == int(_ESTABLISHED, 16) else None
    return None


def _address(name: tuple[str, int]) -> tuple[Address, int]:
    address = ipaddress.ip_address(name[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return address, name[1]


def owner(table: str, address: Address, port: int) -> int | None:
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


def _as_the_kernel_writes(address: Address, port: int) -> str:
    """Each 32-bit word as a number of this machine's, then the port: ``0100007F:1F90`` on a little-endian one."""
    packed = address.packed
    words = [int.from_bytes(packed[n : n + 4], byteorder=sys.byteorder) for n in range(0, len(packed), 4)]
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
