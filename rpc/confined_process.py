"""``python -m rpc.confined_process MODULE FD BYTES``: answers what comes over the socket FD by MODULE's ``answer``.

Start it through ``rpc.confined``, which ties it to its parent.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from rpc.drafts import have_own_tempdir
from rpc.expendable import go_first

# As Python, C++, LLVM and the loader of libraries say it.
_SHORT_OF_MEMORY = ("MemoryError", "bad_alloc", "out of memory", "allocate memory", "failed to map segment")


def main() -> None:
    """Say that all is loaded, then answer each question, or say why there is no answer."""
    name, fd, memory_bytes = sys.argv[1:]
    go_first()
    have_own_tempdir()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module = import_module(name)
    module.prepare()
    _limit_memory(int(memory_bytes))
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
    except MemoryError:
        return {"is_short_of_memory": True}
    except Exception as failure:  # TVM raises its own kinds, of many classes
        text = f"{type(failure).__name__}: {_last_line(failure)}"
        return {"is_short_of_memory": True} if any(word in text for word in _SHORT_OF_MEMORY) else {"failure": text}


def _last_line(failure: BaseException) -> str:
    lines = [line for line in str(failure).strip().splitlines() if line.strip()]
    return (lines[-1].strip() if lines else "")[:500]


def _limit_memory(size_bytes: int) -> None:
    """No more than this for what the process writes to; where the system has no such limit there is none."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (size_bytes, size_bytes))


if __name__ == "__main__":
    main()
