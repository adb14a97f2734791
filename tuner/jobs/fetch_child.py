"""The process that brings one model's files, as the coordinator holds it."""

from __future__ import annotations

import logging
import subprocess
import threading
from typing import IO

from pydantic import ValidationError

from rpc.lifeline import python_module, told_env
from tuner.importers.fetch_process import Order, Said
from tuner.jobs import child_end

log = logging.getLogger(__name__)


class FetchChild:
    """One such process; it ends with ours."""

    def __init__(self, order: Order) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            python_module("tuner.importers.fetch_process"),
            env=told_env(PYTHONUNBUFFERED="1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._said = Said()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with self._process.stdin as given:
                given.write(order.model_dump_json().encode())
        except BrokenPipeError:  # it is dead already
            log.warning("the process that fetches %s ended at once", order.source.name)
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), name="fetch", daemon=True)
        self._reader.start()

    @property
    def said(self) -> Said:
        """The last it said."""
        return self._said

    @property
    def alive(self) -> bool:
        """Is more to come?"""
        return self._reader.is_alive()

    def end(self) -> None:
        """End it, without waiting for that."""
        child_end.end(self._process, "fetch-end")

    def _read(self, lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                try:
                    self._said = Said.model_validate_json(line)
                except ValidationError:
                    log.warning("a process that fetches said %r", line[:200])
        self._process.wait()
