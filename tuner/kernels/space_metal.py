"""The search space of Apple GPUs: MetaSchedule's GPU sketches within what a target's threadgroups may be.

Threads and threadgroup memory are bounded by the target: a schedule beyond them is refused by ``VerifyGPUCode``; one
beyond the registers there are, by an estimate of ours.
"""

from __future__ import annotations

from typing import Any

from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule import mutator as mut
from tvm.s_tir.meta_schedule import postproc as post
from tvm.s_tir.meta_schedule import schedule_rule as rule

from tuner.kernels.lane_reads import LanesAreReadable
from tuner.kernels.threadgroup_tiles import ThreadgroupLimits, sampled_tiles, tile_fits

_VECTOR_LANES = [1, 2, 4]  # Metal's vectors end at four lanes; three are packed and load no faster
_UNROLL_STEPS = [0, 16, 64, 256]  # Apple's shader compiler unrolls by itself; beyond this only its time grows
_MAX_INNERMOST = 16
_MAX_THREADGROUPS = 256


def limits_of(target: Any) -> ThreadgroupLimits:
    """The limits of a Metal target."""
    return ThreadgroupLimits(int(target.attrs["max_threads_per_block"]), int(target.attrs["thread_warp_size"]))


@derived_object
class RegistersFit(post.PyPostproc):
    """Refuses schedules whose tiles want more registers or virtual threads than a GPU has."""

    def __init__(self, limits: ThreadgroupLimits) -> None:
        super().__init__()
        self._limits = limits

    def _initialize_with_tune_context(self, context: Any) -> None:
        """Nothing to learn from it: the limits are given."""

    def apply(self, sch: Any) -> bool:
        decisions = ((str(inst.kind.name), decision) for inst, decision in sch.trace.decisions.items())
        return tile_fits(sampled_tiles(decisions), self._limits)

    def clone(self) -> Any:
        return RegistersFit(self._limits)


def _thread_extents(limits: ThreadgroupLimits, smallest: int) -> list[int]:
    """Powers of two from ``smallest`` to all threads of a group."""
    return [1 << n for n in range(smallest.bit_length() - 1, limits.threads.bit_length())]


def _rules(limits: ThreadgroupLimits) -> list[Any]:
    return [
        rule.ApplyCustomRule(),
        rule.MultiLevelTiling(
            structure="SSSRRSRS",
            tile_binds=["blockIdx.x", "vthread.x", "threadIdx.x"],
            max_innermost_factor=_MAX_INNERMOST,
            vector_load_lens=_VECTOR_LANES,
            reuse_read=rule.ReuseType(req="must", levels=[4], scope="shared"),
            reuse_write=rule.ReuseType(req="must", levels=[3], scope="local"),
        ),
        rule.InlineConstantScalars(),
        rule.AutoInline(
            into_producer=True,
            into_consumer=True,
            inline_const_tensor=True,
            disallow_if_then_else=False,
            require_injective=False,
            require_ordered=False,
        ),
        rule.CrossThreadReduction(thread_extents=_thread_extents(limits, 8)),
        rule.ParallelizeVectorizeUnroll(
            max_jobs_per_core=-1, max_vectorize_extent=-1, unroll_max_steps=_UNROLL_STEPS, unroll_explicit=True
        ),
        rule.AutoBind(
            max_threadblocks=_MAX_THREADGROUPS,
            thread_extents=_thread_extents(limits, limits.simd_width),
            max_threads_per_block=limits.threads,
        ),
    ]


def _postprocs(limits: ThreadgroupLimits) -> list[Any]:
    return [
        RegistersFit(limits),
        post.DisallowDynamicLoop(),
        post.RewriteCooperativeFetch(),
        post.RewriteUnboundBlock(max_threadblocks=_MAX_THREADGROUPS),
        post.RewriteParallelVectorizeUnroll(),
        post.RewriteReductionBlock(),
        LanesAreReadable(),
        post.VerifyGPUCode(),
    ]


def _mutators() -> dict[Any, float]:
    return {mut.MutateTileSize(): 0.9, mut.MutateUnroll(): 0.08, mut.MutateThreadBinding(): 0.02}


def metal_space(target: Any) -> Any:
    """A fresh space generator for a Metal target."""
    limits = limits_of(target)
    return ms.space_generator.PostOrderApply(
        sch_rules=_rules(limits), postprocs=_postprocs(limits), mutator_probs=_mutators()
    )
