"""The service of a data directory for as long as a command needs it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from rpc.lifeline import child_env, python_module
from tuner.cli.common import notes, program
from tuner.cli.datadir import running_service
from tuner.cli.whose import check_is_own
from tuner.client.http import Client
from tuner.config import Settings
from tuner.errors import ServiceUnreachable, StartFailed
from tuner.ownership import claim
from tuner.tokens import known_token

START_SEC = 180.0  # first start on a slow disk: TVM and torch are read for the first time
STOP_SEC = 15.0


@contextmanager
def local_service(settings: Settings, told: Console = notes) -> Iterator[Client]:
    """A client of the service of this data directory: the one that runs already, else one that ends with us, or with
    the thread that called. ``told`` shows what is waited for.

    Raises DataDirForeign, and StartFailed when it does not come up.
    """
    running = _running(settings)
    if running is not None:
        with running:
            yield running
        return
    claim(settings)
    log = settings.root / "run" / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            python_module("tuner.cli.main", "serve", "--data-dir", str(settings.root)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # it names the token, which shall be in no log
            stderr=output,
            env=child_env(),
            start_new_session=True,  # Ctrl-C reaches us alone, and we end the service
        )
    try:
        with told.status("starting the service"):
            client = _wait_until_up(settings, process, log)
        with client:
            yield client
    finally:
        process.terminate()
        with told.status("stopping the service"):
            try:
                process.wait(STOP_SEC)
            except subprocess.TimeoutExpired:
                process.kill()


def _running(settings: Settings) -> Client | None:
    """A client of the service that this data directory belongs to, if one answers."""
    running = running_service(settings)
    if running is None:
        return None
    url = str(running["url"])
    client = Client(url, known_token(settings.token_file))
    try:
        with Client(url) as stranger:
            check_is_own(settings, stranger)
        client.health()
    except ServiceUnreachable:
        client.close()
        return None
    return client


def _wait_until_up(settings: Settings, process: subprocess.Popen[bytes], log: Path) -> Client:
    deadline = time.monotonic() + START_SEC
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _start_failure(log.read_text(errors="replace"))
        client = _running(settings)
        if client is not None:
            if client.health().status == "ok":
                return client
            client.close()
        time.sleep(0.25)
    raise StartFailed(f"The service was not ready after {START_SEC:.0f} s.", f"See {log}, and run: {program()} doctor")


def _start_failure(output: str) -> StartFailed:
    """What the service said last, which is the two lines of its error."""
    lines = output.strip().splitlines()
    message = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "")
    hint = next((line for line in reversed(lines) if line.startswith("hint: ")), f"hint: Run: {program()} doctor")
    return StartFailed(f"The service did not start: {message.removeprefix('error: ')}", hint.removeprefix("hint: "))
