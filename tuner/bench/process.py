"""``python -m tuner.bench.process SPEC.json RESULT.json``: one benchmark in a process of its own, threads fixed.

Start it through ``tuner.bench.launch``, which sets the thread counts before any library reads them.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from rpc.drafts import have_own_tempdir
from rpc.expendable import go_first, is_short_of_memory, limit_memory
from rpc.lean import importing, without_torch
from tuner.bench.spec import NO_SPACE, Failure, Result, Spec
from tuner.errors import StageFailed, TunerError

_SMALLER = "Use smaller extents."


def main() -> None:
    """Entry of the process. A ``TunerError`` becomes the result's ``error`` and exit code 1; a full disk, which takes
    no result, is a code of its own."""
    try:
        _main()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(NO_SPACE)


def _main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m tuner.bench.process SPEC.json RESULT.json")
    go_first()
    have_own_tempdir()
    spec = Spec.model_validate_json(Path(sys.argv[1]).read_bytes())
    with importing():
        with without_torch():  # TVM reads its own symbols when it is loaded, and would PyTorch's: half a second
            import tvm  # noqa: F401

        from tuner.bench.running import run
    if spec.memory_bytes is not None:
        limit_memory(spec.memory_bytes)
    try:
        result = run(spec)
    except TunerError as error:
        result = Result(threads=spec.threads, error=Failure(**error.as_dict()))
    except Exception as error:
        if spec.memory_bytes is None or not is_short_of_memory(error):
            raise
        short = StageFailed(f"The benchmark wanted more than {spec.memory_bytes // 2**20:,} MiB of memory.", _SMALLER)
        result = Result(threads=spec.threads, error=Failure(**short.as_dict()))
    target = Path(sys.argv[2])
    draft = target.with_suffix(".part")
    draft.write_text(result.model_dump_json(indent=1))
    os.replace(draft, target)
    sys.exit(1 if result.error else 0)


if __name__ == "__main__":
    main()
