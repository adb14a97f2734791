"""``tunesmith agent``: this machine measures for a service elsewhere. Needs ``rpc`` and the command line only."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from rpc.environment import harmless


def agent(
    tracker: Annotated[str, typer.Option(metavar="HOST:PORT", help="The service's tracker, or this end of a tunnel.")],
    key: Annotated[
        str | None,
        typer.Option(help="The target's device, such as m4-pro-metal.", show_default="the CPU, on Apple silicon"),
    ] = None,
    host: Annotated[str, typer.Option(help="Address sessions are accepted on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port sessions are accepted on; 0 is any.")] = 0,
    advertise: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="Host the service reaches this machine by.", show_default="as seen"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads kernels run on.", show_default="performance cores")
    ] = None,
    allow_remote_tracker: Annotated[
        bool,
        typer.Option("--allow-remote-tracker", help="Leave this machine without a tunnel: no password, plain text."),
    ] = False,
) -> None:
    """Make this machine a device of a service, until Ctrl-C."""
    options = {"--tracker": tracker, "--key": key, "--host": host, "--port": port, "--advertise": advertise}
    options["--threads"] = threads
    given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    flags = ["--allow-remote-tracker"] if allow_remote_tracker else []
    # The device's process must hold nothing but what sessions need: it is replaced, not imported into.
    os.execve(sys.executable, [sys.executable, "-m", "rpc.agent", *given, *flags], harmless(os.environ))
