"""All that a compilation comes by, in a folder: numbered in order, with an index that says what each file is."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.errors import InvalidInput
from tuner.graph.onlooker import watched_by

INDEX, LOG = "index.md", "log.txt"
_HOW = f"In the order of things; a pass that changed nothing has no file. `{LOG}` is what was logged."
_HEAD = "| | what | lines |\n|---|---|---|\n"
_LOGGED = ("tuner", "rpc")


class Dump:
    """A folder that grows; another process may go on with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = folder / INDEX
        self._before = ""  # what was seen last

    def begin(self, about: str) -> None:
        """Make the folder, with the first lines of its index. Raises InvalidInput for one that holds something."""
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise InvalidInput(f"{self.folder} is not empty.", "Give --dump a folder that is new, or empty.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._index.write_text(f"{about}\n\n{_HOW}\n\n{_HEAD}")

    def see(self, what: str, ending: str, text: str) -> None:
        """Write it, unless it is what was there before."""
        if text == self._before:
            self._say(f"| | {what}: no change | |\n")
            return
        self._before = text
        number = sum(1 for file in self.folder.iterdir() if file.name[:1].isdigit()) + 1
        name = f"{number:03d}-{re.sub(r'[^A-Za-z0-9_.]+', '-', what).strip('-')}.{ending}"
        (self.folder / name).write_text(text)
        self._say(f"| [{name}]({name}) | {what} | {text.count(chr(10)) + 1:,} |\n")

    def _say(self, line: str) -> None:
        with self._index.open("a") as index:
            index.write(line)


@contextmanager
def dumped(folder: Path | None) -> Iterator[None]:
    """What is rewritten and built in the block, and what is logged meanwhile, goes into the folder, if there is one."""
    if folder is None:
        yield
        return
    written = logging.FileHandler(folder / LOG)
    written.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    loggers = {logger: logger.level for logger in map(logging.getLogger, _LOGGED)}
    for logger in loggers:
        logger.addHandler(written)
        logger.setLevel(logging.DEBUG)
    try:
        with watched_by(Dump(folder)):
            yield
    finally:
        for logger, level in loggers.items():
            logger.removeHandler(written)
            logger.setLevel(level)
        written.close()
