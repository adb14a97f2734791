"""``tunesmith agent``: this machine measures for a service elsewhere. Needs ``rpc`` and the command line only."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from rpc.environment import harmless

agent_app = typer.Typer(
    help="Make this machine a device of a service, until Ctrl-C, or at every start.", invoke_without_command=True
)

Key = Annotated[
    str | None,
    typer.Option("--key", help="The target's device, such as m4-pro-metal.", show_default="the CPU, on Apple silicon"),
]
Host = Annotated[str, typer.Option("--host", help="Address sessions are accepted on.")]
PortNumber = Annotated[int, typer.Option("--port", help="Port sessions are accepted on; 0 is any.")]
Advertise = Annotated[
    str | None,
    typer.Option(
        "--advertise", metavar="HOST", help="Host the service reaches this machine by.", show_default="as seen"
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads kernels run on.", show_default="performance cores")
]
AllowRemote = Annotated[
    bool,
    typer.Option("--allow-remote-tracker", help="Leave this machine without a tunnel: no password, plain text."),
]
TRACKER = typer.Option("--tracker", metavar="HOST:PORT", help="The service's tracker, or this end of a tunnel.")


@agent_app.callback()
def agent(
    context: typer.Context,
    tracker: Annotated[str | None, TRACKER] = None,
    key: Key = None,
    host: Host = "127.0.0.1",
    port: PortNumber = 0,
    advertise: Advertise = None,
    threads: Threads = None,
    allow_remote_tracker: AllowRemote = False,
) -> None:
    """Make this machine a device of a service, until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    if tracker is None:
        raise typer.BadParameter("Missing option '--tracker'.")
    argv = agents_argv(tracker, key, host, port, advertise, threads, allow_remote_tracker)
    # The device's process must hold nothing but what sessions need: it is replaced, not imported into.
    os.execve(sys.executable, argv, harmless(os.environ))


def agents_argv(
    tracker: str,
    key: str | None,
    host: str,
    port: int,
    advertise: str | None,
    threads: int | None,
    allow_remote_tracker: bool,
) -> list[str]:
    """The command line of the device's process."""
    options = {"--tracker": tracker, "--key": key, "--host": host, "--port": port, "--advertise": advertise}
    options["--threads"] = threads
    given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    flags = ["--allow-remote-tracker"] if allow_remote_tracker else []
    return [sys.executable, "-m", "rpc.agent", *given, *flags]
