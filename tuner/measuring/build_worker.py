"""``python -m tuner.measuring.build_worker FD``: makes libraries of what comes over the socket FD, until it is closed.

Start it through ``build_process``, which ties it to its parent.
"""

from __future__ import annotations

import json
import resource
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from rpc.drafts import have_own_tempdir
from rpc.expendable import go_first
from rpc.lean import prepare_lean_import

if TYPE_CHECKING:
    from tuner.measuring.build_process import BuildJob


def build(job: BuildJob) -> str:
    """Make the library and return its path."""
    import tvm
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock
    from tvm_ffi.serialization import from_json_graph_str

    from tuner.kernels.link import candidate_linker_for
    from tuner.kernels.prefetch import insert_prefetches

    mod = from_json_graph_str(job.tir)  # tvm.ir.load_json would first look for what older releases wrote, slowly
    if job.rewritten_arguments:
        mod = insert_prefetches(RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(mod))
    Path(job.path).parent.mkdir(parents=True, exist_ok=True)
    target = json.loads(job.target)
    # Whoever times or checks a candidate makes its arguments; code that looks at them takes a quarter of LLVM's time.
    with tvm.transform.PassContext(config={"tirx.disable_assert": True}):
        library = tvm.driver.build(mod, target=tvm.target.Target(target))
    library.export_library(job.path, fcompile=candidate_linker_for(target))
    return job.path


def main() -> None:
    """Say that TVM is loaded, then answer each job with what it gave."""
    go_first()
    have_own_tempdir()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prepare_lean_import()
    import tvm  # noqa: F401

    from tuner.measuring.build_process import Built

    connection = Connection(int(sys.argv[1]))
    connection.send(None)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            answer = Built(path=build(job))
        except Exception as failure:  # TVM raises its own kinds, of many classes
            answer = Built(error_class="build", error=_last_line(failure))
        connection.send(answer)


def _last_line(failure: BaseException) -> str:
    lines = [line for line in str(failure).strip().splitlines() if line.strip()]
    return f"{type(failure).__name__}: {lines[-1].strip() if lines else ''}"[:500]


if __name__ == "__main__":
    main()
