"""Inner loops are found in assembly, and counted."""

from __future__ import annotations

from benchmarks.inner_loops import Loop, busiest
from tuner.targets.cores import GENERIC, core_of

ARM = """
_main:
LBB0_1:                                 ; =>This Loop Header: Depth=1
	mov	x8, #8
LBB0_2:                                 ; =>  This Inner Loop Header: Depth=2
	ldp	q0, q1, [x9], #32
	ld1r.4s	{ v2 }, [x10]
	fmla.4s	v16, v0, v2
	fmla.4s	v17, v1, v2[0]
	subs	x8, x8, #1
	b.ne	LBB0_2
	str	q16, [x11]
	cbnz	x12, LBB0_1
	ret
"""
X86 = """
main:
.LBB0_1:                                # =>This Inner Loop Header: Depth=1
	vmovups	(%rax), %zmm0
	vfmadd231ps	(%rcx){1to16}, %zmm0, %zmm8
	vfmadd231ps	%zmm0, %zmm1, %zmm9
	vmovups	16(%rsp), %zmm2
	incq	%rdx
	jne	.LBB0_1
	retq
"""


def test_the_innermost_loop_is_counted_and_no_other() -> None:
    assert busiest(ARM) == Loop(instructions=6, fmas=2, loads=3, sums=2, spilled=0, lanes=4)
    assert busiest(X86) == Loop(instructions=6, fmas=2, loads=3, sums=2, spilled=1, lanes=16)
    assert busiest("main:\n\tret\n") is None


def test_what_follows_a_product_is_not_taken_for_it() -> None:
    follower = "LBB1_1:\n" + "\tfmla.4s\tv3, v4, v5\n\tfadd.4s\tv3, v3, v5\n\tfdiv.4s\tv3, v3, v5\n" * 9
    found = busiest(ARM + follower + "\tb.ne\tLBB1_1\n")
    assert found is not None
    assert found.fmas == 2


def test_what_a_core_can_not_do_in_time_is_what_bounds_a_loop() -> None:
    m1 = core_of("apple-m1")
    full = Loop(instructions=36, fmas=24, loads=11, sums=24, spilled=0, lanes=4)
    assert full.part_of_peak(m1) == 1.0
    few_sums = Loop(instructions=12, fmas=8, loads=4, sums=8, spilled=0, lanes=4)
    assert few_sums.part_of_peak(m1) == 0.5  # four pipes of four cycles want sixteen
    loading = Loop(instructions=30, fmas=16, loads=24, sums=16, spilled=0, lanes=4)
    assert loading.part_of_peak(m1) == 0.5


def test_a_core_that_nobody_named_is_an_ordinary_one() -> None:
    assert core_of("apple-m1").l1_bytes == 128 * 1024
    assert core_of("of-tomorrow") is GENERIC
