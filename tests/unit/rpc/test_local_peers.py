"""Loopback is not one user: who is at the other end is asked of the kernel."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rpc import local_peers
from rpc.local_peers import is_trusted, owner, uid_of
from tests.support.processes import patience, python_code

NOBODY = 65534
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1
   1: 0100007F:C001 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1
   2: 0100007F:C002 0100007F:1F90 06 00000000:00000000 03:00000F4D 00000000     0        0 0 3
   3: 0100007F:C003 0100007F:1F90 05 00000000:00000000 00:00000000 00000000     0        0 0 3
"""
CONNECT = """
import os, socket, sys
import encodings.idna  # not everybody may read where Python lies
os.setuid(int(sys.argv[1]))
with socket.create_connection((sys.argv[2], int(sys.argv[3]))) as connection:
    print("connected", flush=True)
    connection.recv(1)
"""
pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the kernel does not tell here")


@pytest.mark.parametrize(("port", "uid"), [(0xC001, 1000), (0xC002, None), (0xC003, None), (0x1F90, None), (1, None)])
def test_the_owner_of_an_open_socket_is_told_and_nobodys_of_a_closed_one(port: int, uid: int | None) -> None:
    """A socket that its process has closed is listed as root's."""
    if sys.byteorder != "little":
        pytest.skip("the table is of a little-endian machine")
    assert owner(TABLE, ipaddress.ip_address("127.0.0.1"), port) == uid


@contextmanager
def connected(host: str, listen: str, uid: int) -> Iterator[socket.socket]:
    """The listener's end of a connection that another user's process has made."""
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    dual = {"dualstack_ipv6": True} if listen == "::" else {}
    with socket.create_server((listen, 0), family=family, **dual) as listener:  # type: ignore[arg-type]
        argv = python_code(CONNECT, str(uid), host, str(listener.getsockname()[1]))
        listener.settimeout(patience(10))
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            connection, _ = listener.accept()
            with connection:
                assert process.stdout is not None
                assert process.stdout.readline() == "connected\n"
                yield connection


ENDS = [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "::")]


@pytest.fixture(params=["told", "looked for"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Linux's answer to a question, or by its table, where it gives none."""
    if request.param == "looked for":
        monkeypatch.setattr(local_peers, "told", lambda *ends: None)
    else:
        monkeypatch.setattr(local_peers, "owner", lambda *ends: None)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("host", "listen"), ENDS)
def test_this_users_own_processes_are_trusted(host: str, listen: str) -> None:
    if ":" in listen and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with connected(host, listen, os.getuid()) as connection:
        assert is_trusted(connection)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("host", "listen"), ENDS)
def test_another_users_are_not_unless_he_is_named(host: str, listen: str) -> None:
    with connected(host, listen, NOBODY) as connection:
        assert not is_trusted(connection)
        assert is_trusted(connection, [NOBODY])


@pytest.mark.usefixtures("way")
def test_a_peer_that_has_left_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        socket.create_connection(listener.getsockname()).close()
        connection, _ = listener.accept()
        with connection:
            assert not is_trusted(connection)


def test_where_the_system_does_not_tell_nobody_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_peers, "_TABLES", dict.fromkeys((4, 6), Path("/nowhere")))
    with connected("127.0.0.1", "127.0.0.1", os.getuid()) as connection:
        assert is_trusted(connection)


def test_a_user_is_known_by_name() -> None:
    assert uid_of("root") == 0
    with pytest.raises(ValueError, match="'nosuchuser'"):
        uid_of("nosuchuser")
