"""The guard that all tests run under finds what it is for."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support import no_io
from tests.support.rows import add_job
from tuner.db.engine import read, write

HERE = Path(__file__)


def connect() -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", 9))


@pytest.mark.parametrize(
    "deed",
    [
        HERE.exists,
        HERE.read_text,
        lambda: os.listdir(HERE.parent),
        lambda: HERE.with_name("none").unlink(missing_ok=True),
        lambda: os.replace(HERE, HERE),
        lambda: subprocess.run([sys.executable, "-c", ""], check=False),
        connect,
    ],
    ids=["exists", "read", "list", "unlink", "replace", "start", "connect"],
)
def test_whatever_touches_a_file_or_a_peer_within_a_transaction_fails(
    engine: Engine, deed: Callable[[], object]
) -> None:
    def do_it() -> None:
        with write(engine) as session:
            add_job(session)
            deed()

    with pytest.raises(AssertionError, match="within write"):
        do_it()
    assert len(no_io.taken()) == 1


def test_it_is_told_even_when_the_code_takes_the_failure_for_something_else(engine: Engine) -> None:
    with write(engine), contextlib.suppress(AssertionError):
        HERE.exists()
    (told,) = no_io.taken()
    assert "os.stat" in told


def test_other_threads_and_readers_may(engine: Engine) -> None:
    found: list[bool] = []
    with write(engine) as session:
        add_job(session)
        other = threading.Thread(target=lambda: found.append(HERE.exists()))
        other.start()
        other.join()
    with read(engine):
        found.append(HERE.exists())
    assert found == [True, True]
    assert no_io.taken() == []
