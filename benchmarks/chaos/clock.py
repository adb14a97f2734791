"""Clocks of single processes, shifted by a library that is loaded before all others (Linux, a C compiler)."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

_ENTRY, _ENTRIES = struct.Struct("<ii"), 64
_SOURCE = Path(__file__).with_name("clock.c")


class Clocks:
    """Shifts the clock on the wall of processes that were started with `env`; the monotonic clock stays what it is."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError or CalledProcessError where it can't be had."""
        if sys.platform != "linux":
            raise OSError("only Linux loads a library before all others")
        library, self._file = folder / "clock.so", folder / "clock"
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        self._shifts: dict[int, int] = {}
        self._write()
        self.env = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self._file)}

    def shift(self, pid: int, seconds: int) -> None:
        """Let the clock of a process jump by so much; 0 puts it right again."""
        self._shifts.pop(pid, None)
        if seconds:
            self._shifts[pid] = seconds
        self._write()

    def _write(self) -> None:
        entries = list(self._shifts.items())[-_ENTRIES:]
        entries += [(0, 0)] * (_ENTRIES - len(entries))
        with self._file.open("r+b" if self._file.exists() else "wb") as file:  # in place: it is mapped
            file.write(b"".join(_ENTRY.pack(*entry) for entry in entries))
