"""``tunesmith agent install`` and ``uninstall``: the machine itself keeps the agent running."""

from __future__ import annotations

import argparse
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rpc import addresses, apple
from rpc.errors import RpcError
from rpc.facts import cpu_model
from rpc.loopback import check_loopback
from tuner.cli.agent import TRACKER, Advertise, AllowRemote, Host, Key, PortNumber, Threads, agents_argv
from tuner.cli.agent_units import Unit, install, launchd, systemd, uninstall
from tuner.cli.common import notes
from tuner.errors import InvalidInput

_IN_A_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def install_agent(
    tracker: Annotated[str, TRACKER],
    key: Key = None,
    host: Host = "127.0.0.1",
    port: PortNumber = 0,
    advertise: Advertise = None,
    threads: Threads = None,
    allow_remote_tracker: AllowRemote = False,
    user: Annotated[str | None, typer.Option("--user", help="Who runs it.", show_default="who calls, by sudo")] = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print the file, and change nothing.")] = False,
) -> None:
    """Let launchd or systemd keep the agent running, whoever is logged in. Needs root, without --print."""
    known = _known_key(key)
    _check_place(tracker, host, allow_remote_tracker)
    argv = agents_argv(tracker, known, host, port, advertise, threads, allow_remote_tracker)
    unit = _unit(known, argv, user or os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name)
    if only_print:
        typer.echo(unit.text, nl=False)
        return
    try:
        install(unit, _run)
    except PermissionError as error:
        raise InvalidInput(f"{unit.path} can't be written: {error.strerror}.", "Call it by sudo, or --print.") from None
    notes.print(f"{unit.path} is written, and the agent started", highlight=False, markup=False)


def uninstall_agent(key: Key = None) -> None:
    """End what ``install`` started, and remove it. Needs root."""
    unit = _unit(_known_key(key), [], pwd.getpwuid(os.getuid()).pw_name, may_be_root=True)
    try:
        uninstall(unit, _run)
    except PermissionError as error:
        raise InvalidInput(f"{unit.path} can't be removed: {error.strerror}.", "Call it by sudo.") from None
    notes.print(f"{unit.path} is removed", highlight=False, markup=False)


def _known_key(key: str | None) -> str:
    found = key or apple.cpu_key(cpu_model())
    if found is None:
        raise InvalidInput("This machine's kind does not say which device it is.", "Give --key.")
    if not _IN_A_FILE_NAME.fullmatch(found):
        raise InvalidInput(f"--key {found!r} can't name a file.", "Use letters, digits, dots and dashes.")
    return found


def _check_place(tracker: str, host: str, allow_remote_tracker: bool) -> None:
    """What the agent would refuse at each of its starts is refused now."""
    try:
        tracker_host, _ = addresses.address(tracker)
        if not allow_remote_tracker:
            check_loopback(tracker_host, host)
    except RpcError as error:
        raise InvalidInput(error.message, error.hint) from None
    except argparse.ArgumentTypeError as error:
        raise InvalidInput(f"--tracker: {error}.", "Give HOST:PORT.") from None


def _unit(key: str, argv: Sequence[str], user: str, may_be_root: bool = False) -> Unit:
    if user == "root" and not may_be_root:
        raise InvalidInput("The agent runs what the service sends it, and shall not do so as root.", "Give --user.")
    try:
        home = Path(pwd.getpwnam(user).pw_dir)
    except KeyError:
        raise InvalidInput(f"This machine knows no user {user!r}.", "Give another --user.") from None
    return launchd(key, argv, user, home) if sys.platform == "darwin" else systemd(key, argv, user)


def _run(command: Sequence[str]) -> int:
    return subprocess.run(command, check=False).returncode
