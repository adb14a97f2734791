"""The search space per kind of target: schedule rules, post-processors, mutators.

The rules are MetaSchedule's (Shao et al. 2022, "Tensor Program Optimization with Probabilistic Programs"), the sketches
of Ansor (Zheng et al. 2020); what differs per target is how wide vectors are and how finely work is cut for the cores
that are there.
"""

from __future__ import annotations

from typing import Any

from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule import mutator as mut
from tvm.s_tir.meta_schedule import postproc as post
from tvm.s_tir.meta_schedule import schedule_rule as rule

from tuner.kernels.space_metal import metal_space

_MAX_JOBS_PER_CORE = 16


def _cpu_rules() -> list[Any]:
    return [
        rule.ApplyCustomRule(),
        rule.InlineConstantScalars(),
        rule.AutoInline(
            into_producer=False,
            into_consumer=True,
            inline_const_tensor=True,
            disallow_if_then_else=True,
            require_injective=True,
            require_ordered=True,
            disallow_op=["tirx.exp"],
        ),
        rule.AddRFactor(max_jobs_per_core=_MAX_JOBS_PER_CORE, max_innermost_factor=64),
        rule.MultiLevelTiling(
            structure="SSRSRS",
            max_innermost_factor=64,
            reuse_write=rule.ReuseType(req="may", levels=[1, 2], scope="global"),
        ),
        rule.ParallelizeVectorizeUnroll(
            max_jobs_per_core=_MAX_JOBS_PER_CORE,
            max_vectorize_extent=64,
            unroll_max_steps=[0, 16, 64, 512],
            unroll_explicit=True,
        ),
        rule.RandomComputeLocation(),
    ]


def _cpu_postprocs() -> list[Any]:
    return [
        post.DisallowDynamicLoop(),
        post.RewriteParallelVectorizeUnroll(),
        post.RewriteReductionBlock(),
        post.RewriteLayout(),
    ]


def _cpu_mutators() -> dict[Any, float]:
    return {
        mut.MutateTileSize(): 0.9,
        mut.MutateComputeLocation(): 0.05,
        mut.MutateUnroll(): 0.03,
        mut.MutateParallel(max_jobs_per_core=_MAX_JOBS_PER_CORE): 0.02,
    }


def space_for(target: Any) -> Any:
    """A fresh space generator: CPUs get the rules above, Apple GPUs theirs, all else MetaSchedule's own."""
    if target.kind.name == "llvm":
        return ms.space_generator.PostOrderApply(
            sch_rules=_cpu_rules(), postprocs=_cpu_postprocs(), mutator_probs=_cpu_mutators()
        )
    if target.kind.name == "metal":
        return metal_space(target)
    return ms.space_generator.PostOrderApply()
