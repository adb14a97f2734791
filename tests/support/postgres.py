"""A Postgres server of the tests' own, in a temporary folder, reached by a socket that nobody else may open."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlmodel import SQLModel

from rpc.lifeline import die_with_parent
from tests.support.processes import wait_until
from tuner.config import Settings
from tuner.db.migrate import upgrade

MIGRATED = "migrated"
_ADMIN, _USER = "postgres", "tunesmith"
# What is lost when the machine goes down is of no use to anybody.
_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")


def programs() -> Path | None:
    """The folder of Postgres' programs, of its newest version if there are several; None when it is not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return installed[-1] if installed else None


@dataclass(frozen=True)
class Server:
    """A server that runs, and where its socket is."""

    folder: Path

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://{_USER}@/{database}?host={self.folder}"

    def create(self, database: str, like: str = "template0") -> None:
        """Make an empty database, or one like another that nobody uses."""
        self._execute(f'CREATE DATABASE "{database}" TEMPLATE "{like}"')

    def drop(self, database: str) -> None:
        """Drop a database, whoever still uses it."""
        self._execute(f'DROP DATABASE "{database}" WITH (FORCE)')

    def empty(self, database: str) -> None:
        """Delete all rows but its id, whoever still uses the database; a new one would take fifty times as long."""
        self._execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        deletes = [
            f'DELETE FROM "{table.name}"'
            for table in reversed(SQLModel.metadata.sorted_tables)
            if table.name != "identity"
        ]
        self._execute("; ".join(deletes), database)

    def is_up(self) -> bool:
        """Does it take connections?"""
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: str, database: str = _ADMIN) -> None:
        with psycopg.connect(host=str(self.folder), user=_USER, dbname=database, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]


@contextmanager
def running(binaries: Path) -> Iterator[Server]:
    """A server with a database that has all tables, until the block ends; nobody's if we are root, for whom it refuses
    to run."""
    user = _ordinary_user()
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-postgres-"))
    data = folder / "data"
    try:
        if user:
            shutil.chown(folder, user["user"], user["group"])
        init = [binaries / "initdb", "-D", data, "-U", _USER, "--auth=trust", "--encoding=UTF8", "--locale=C"]
        subprocess.run([*init, "--no-sync"], check=True, capture_output=True, cwd=folder, **user)
        argv = [binaries / "postgres", "-D", data, "-k", folder, "-h", "", *(f"-c{setting}" for setting in _QUICK)]
        parent = os.getpid()
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                argv, cwd=folder, stdout=log, stderr=log, preexec_fn=lambda: die_with_parent(parent), **user
            ) as process,
        ):
            try:
                server = Server(folder)
                wait_until(server.is_up, 30, f"the start of Postgres (see {folder / 'log'})")
                server.create(MIGRATED)
                upgrade(Settings(data_dir=folder / "service", database_url=server.url(MIGRATED)))
                yield server
            finally:
                process.terminate()
    finally:
        shutil.rmtree(folder)


def _ordinary_user() -> dict[str, Any]:
    """For ``subprocess``: who to be when one is root."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
