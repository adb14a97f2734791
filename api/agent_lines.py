"""How another machine becomes a device, in lines to copy. Pure."""

from __future__ import annotations

from urllib.parse import SplitResult

from api.agent_wheel import Wheel
from rpc.loopback import is_loopback

_SESSIONS_PORT = 9091  # any free one would do; it has to be the same at both ends of a tunnel
_TOKEN = "# TUNER_TOKEN must hold a token, best one for `read`: the service's user makes it by `tunesmith token new`."


def lines(base: SplitResult, wheel: Wheel, tracker: tuple[str, int], asks_for_token: bool) -> str:
    """Two commands for a shell, and in comments what they need.

    ``base`` is the service's URL as it was asked, at which pip will ask too; ``tracker`` is where the tracker listens.
    """
    place = base.netloc.rpartition("@")[2]
    shown = "token:$TUNER_TOKEN@" if asks_for_token else ""
    url = f"{base.scheme}://{shown}{place}/agent/{wheel.name}#sha256={wheel.sha256}"
    host, port = tracker
    if is_loopback(host):
        web = base.port or (443 if base.scheme == "https" else 80)
        there = f"-L {web}:127.0.0.1:{web} " if is_loopback(base.hostname or "") else ""
        way = [
            "# On a machine that is not the service's, keep this open beside it, whose both ends have the same ports:",
            f"#   ssh -N -o ExitOnForwardFailure=yes -o ServerAliveInterval=15 {there}-L {port}:127.0.0.1:{port} "
            f"-R 127.0.0.1:{_SESSIONS_PORT}:127.0.0.1:{_SESSIONS_PORT} USER@SERVICE",
        ]
        join = f"--tracker 127.0.0.1:{port} --port {_SESSIONS_PORT}"
    else:
        way = ["# Whoever reaches the tracker, and then this machine, can run any code on it."]
        join = f"--tracker {place_of(base)}:{port} --host 0.0.0.0 --allow-remote-tracker"
    return "\n".join(
        [
            "# Makes this machine a device of the service. Needs Python 3.10 or newer, best in a venv of its own.",
            *([_TOKEN] if asks_for_token else []),
            *way,
            "# Without --key, Apple silicon offers its CPU; other machines name their target's device.",
            f'python3 -m pip install "{url}"',
            f"tunesmith agent {join}",
            "",
        ]
    )


def place_of(base: SplitResult) -> str:
    """The host of a URL as an address with a port has it."""
    host = base.hostname or ""
    return f"[{host}]" if ":" in host else host
