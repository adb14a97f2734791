"""The service that is put through it: started as a user does, started again when it ends, all its processes in view."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from rpc.lifeline import child_env, python_module
from tuner.cli.ports import lasting_port
from tuner.client.http import Client
from tuner.config import Settings
from tuner.errors import ServiceUnreachable, StartFailed
from tuner.tokens import known_token

_START_SEC, _STOP_SEC = 180.0, 60.0


class Service:
    """`tunesmith serve` on a data directory and ports of its own."""

    def __init__(self, data_dir: Path, log: Path, env: dict[str, str]) -> None:
        self.settings = Settings(data_dir=data_dir, port=lasting_port("127.0.0.1"))
        self.url = f"http://127.0.0.1:{self.settings.port}"
        self.restarts = -1
        self._log = log
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    def keep_up(self) -> None:
        """Start it if it does not run, as a machine's own supervisor would."""
        if self._process is None or self._process.poll() is not None:
            self.restarts += 1
            port = str(self.settings.port)
            argv = python_module("tuner.cli.main", "serve", "--data-dir", str(self.settings.root), "--port", port)
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    argv, env=child_env(**self._env), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip

    def wait_until_ready(self) -> None:
        """Raises StartFailed when it does not come up."""
        deadline = time.monotonic() + _START_SEC
        while time.monotonic() < deadline:
            with contextlib.suppress(ServiceUnreachable), self.client() as client:
                if client.health().status == "ok":
                    return
            time.sleep(0.5)
        raise StartFailed(f"The service was not ready after {_START_SEC:g} s.", f"See {self._log}.")

    def client(self) -> Client:
        """A client for a call or two."""
        return Client(self.url, known_token(self.settings.token_file), timeout_sec=5.0)

    def tree(self) -> list[psutil.Process]:
        """All its processes, the supervisor first."""
        if self._process is None or self._process.poll() is not None:
            return []
        with contextlib.suppress(psutil.Error):
            top = psutil.Process(self._process.pid)
            return [top, *(child for child in top.children(recursive=True) if _runs(child))]
        return []

    def part(self, name: str) -> psutil.Process | None:
        """One of the supervisor's own, by the module that it runs."""
        for process in self.tree()[1:]:
            with contextlib.suppress(psutil.Error):
                if name in process.cmdline():
                    return process
        return None

    def stop(self) -> int | None:
        """End it as Ctrl-C does; its exit code, None when it had to be killed."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            return self._process.wait(_STOP_SEC)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None

    def left(self) -> list[psutil.Process]:
        """Processes of this data directory that still run."""
        return list(_of(self.settings.root))


def _of(root: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if _runs(process) and process.environ().get("TUNER_DATA_DIR") == str(root):
                yield process


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
