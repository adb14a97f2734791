"""``python -m rpc.confined_process MODULE FD BYTES``: answers what comes over the socket FD by MODULE's ``answer``.

Start it through ``rpc.confined``, which ties it to its parent.
"""

from __future__ import annotations

import json
import resource
import sys
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from rpc.drafts import have_own_tempdir
from rpc.expendable import go_first, is_short_of_memory, limit_memory
from rpc.lean import importing


def main() -> None:
    """Say that all is loaded, then answer each question, or say why there is no answer."""
    name, fd, memory_bytes = sys.argv[1:]
    go_first()
    have_own_tempdir()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with importing():
        module = import_module(name)
        module.prepare()
    limit_memory(int(memory_bytes))
    connection = Connection(int(fd))
    connection.send_bytes(b"{}")
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        connection.send_bytes(json.dumps(_said(module, question)).encode())


def _said(module: Any, question: object) -> dict[str, Any]:
    try:
        return {"answer": module.answer(question)}
    except Exception as failure:  # TVM raises its own kinds, of many classes
        if is_short_of_memory(failure):
            return {"is_short_of_memory": True}
        return {"failure": f"{type(failure).__name__}: {_last_line(failure)}"}


def _last_line(failure: BaseException) -> str:
    lines = [line for line in str(failure).strip().splitlines() if line.strip()]
    return (lines[-1].strip() if lines else "")[:500]


if __name__ == "__main__":
    main()
