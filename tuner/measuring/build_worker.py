"""What a build process does, above all make libraries. ``build_process`` starts it, through ``rpc.confined``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpc.lean import on_demand, prepare_lean_import

if TYPE_CHECKING:
    from tuner.measuring.build_process import BuildJob, Question


_FOR_OTHERS = ("tvm.relax", "tvm.s_tir.dlight", "tvm.s_tir.meta_schedule")  # graphs, ready-made schedules, the search


def prepare() -> None:
    """Load of TVM what makes a library of a scheduled kernel."""
    prepare_lean_import()
    on_demand(*_FOR_OTHERS)
    import tvm.s_tir  # noqa: F401


def answer(question: Question) -> Any:
    """Do what is asked."""
    return question.answer()


def build(job: BuildJob) -> None:
    """Make the library."""
    import tvm
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

    from tuner.graph.as_json import from_json
    from tuner.kernels.link import candidate_linker_for
    from tuner.kernels.prefetch import insert_prefetches

    mod = from_json(job.tir)
    if job.rewritten_arguments:
        mod = insert_prefetches(RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(mod))
    Path(job.path).parent.mkdir(parents=True, exist_ok=True)
    target = json.loads(job.target)
    # Whoever times or checks a candidate makes its arguments; code that looks at them takes a quarter of LLVM's time.
    with tvm.transform.PassContext(config={"tirx.disable_assert": True}):
        library = tvm.driver.build(mod, target=tvm.target.Target(target))
    library.export_library(job.path, fcompile=candidate_linker_for(target))
