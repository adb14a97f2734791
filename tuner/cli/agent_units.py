"""The agent as a service of its machine: what launchd or systemd is told of it, and how it gets there."""

from __future__ import annotations

import plistlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import NotFound, StartFailed

Run = Callable[[Sequence[str]], int]  # runs a command and gives its exit code
_THROTTLE_SEC = 10


@dataclass(frozen=True)
class Unit:
    """A file, and the commands that start and end what it describes."""

    path: Path
    text: str
    start: tuple[tuple[str, ...], ...]
    stop: tuple[tuple[str, ...], ...]


def launchd(key: str, argv: Sequence[str], user: str, home: Path) -> Unit:
    """A LaunchDaemon, which needs nobody to be logged in; man launchd.plist.

    Interactive, as macOS keeps background processes on the efficiency cores.
    """
    label = f"tunesmith.agent.{key}"
    path = Path("/Library/LaunchDaemons") / f"{label}.plist"
    told = {
        "Label": label,
        "ProgramArguments": list(argv),
        "UserName": user,
        "ProcessType": "Interactive",
        "RunAtLoad": True,
        "KeepAlive": True,
        "ThrottleInterval": _THROTTLE_SEC,
        "WorkingDirectory": str(home),
        "StandardErrorPath": str(home / "Library/Logs" / f"{label}.log"),
    }
    text = plistlib.dumps(told, sort_keys=False).decode()
    start = (("launchctl", "bootstrap", "system", str(path)),)
    return Unit(path, text, start, (("launchctl", "bootout", f"system/{label}"),))


def systemd(key: str, argv: Sequence[str], user: str) -> Unit:
    """A unit of the system; man systemd.service."""
    name = f"tunesmith-agent-{key}.service"
    lines = [
        "[Unit]",
        f"Description=TuneSmith's agent: this machine as {key}",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        f"User={user}",
        f"ExecStart={' '.join(map(_quoted, argv))}",
        "Restart=always",
        f"RestartSec={_THROTTLE_SEC}",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    start = (("systemctl", "daemon-reload"), ("systemctl", "enable", "--now", name))
    return Unit(Path("/etc/systemd/system") / name, "\n".join(lines), start, (("systemctl", "disable", "--now", name),))


def install(unit: Unit, run: Run) -> None:
    """Write the file and start what it describes, instead of what ran by it before.

    Raises:
        StartFailed: names the command that failed; the file is there.
        OSError: the file can't be written.
    """
    if unit.path.exists():
        _all(unit.stop, run)
    unit.path.write_text(unit.text)
    if failed := _all(unit.start, run):
        raise StartFailed(f"`{failed}` failed; {unit.path} is written.", "Its own message is above; run it by hand.")


def uninstall(unit: Unit, run: Run) -> None:
    """End what the file describes, and remove it. Raises NotFound, or OSError where it can't be removed."""
    if not unit.path.exists():
        raise NotFound(f"There is no {unit.path}.", "Give the --key that it was installed with.")
    _all(unit.stop, run)
    unit.path.unlink()


def _all(commands: Sequence[Sequence[str]], run: Run) -> str:
    """Run one after the other; the first that fails ends it and is given, empty: none did."""
    return next((shlex.join(command) for command in commands if run(command)), "")


def _quoted(word: str) -> str:
    """A word of a command line in a unit, where ``%`` and ``$`` would stand for something."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
