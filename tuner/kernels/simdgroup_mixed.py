"""What a simdgroup does with matrices of one type whose products it adds up in another, in TVM's terms."""

from typing import Any

from tvm.s_tir.tensor_intrin.metal import get_simdgroup_index
from tvm.script import tirx as T

from tuner.kernels.simdgroup_tiles import SIDE


def mixed_multiply(dtype: str, sums: str) -> tuple[Any, Any]:
    """As TVM's ``get_simdgroup_multiply_accumulate_intrin``, of operands of a type whose products are added up in
    another, which Metal allows (Metal Shading Language, 6.7)."""

    @T.prim_func(s_tir=True)
    def description(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (SIDE, SIDE), dtype, scope="metal.simdgroup", offset_factor=1)
        B = T.match_buffer(b, (SIDE, SIDE), dtype, scope="metal.simdgroup", offset_factor=1)
        C = T.match_buffer(c, (SIDE, SIDE), sums, scope="metal.simdgroup", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0:SIDE, 0:SIDE], A[0:SIDE, 0:SIDE], B[0:SIDE, 0:SIDE])
            T.writes(C[0:SIDE, 0:SIDE])
            for i, j, k in T.grid(SIDE, SIDE, SIDE):
                with T.sblock(""):
                    vi, vj, vk = T.axis.remap("SSR", [i, j, k])
                    C[vi, vj] += T.Cast(sums, A[vi, vk]) * T.Cast(sums, B[vk, vj])

    @T.prim_func(s_tir=True)
    def implementation(a: T.handle, b: T.handle, c: T.handle) -> None:
        a0, a1, b0, b1, c0, c1 = T.int32(), T.int32(), T.int32(), T.int32(), T.int32(), T.int32()
        A = T.match_buffer(a, (SIDE, SIDE), dtype, scope="metal.simdgroup", strides=[a1, a0], offset_factor=1)
        B = T.match_buffer(b, (SIDE, SIDE), dtype, scope="metal.simdgroup", strides=[b1, b0], offset_factor=1)
        C = T.match_buffer(c, (SIDE, SIDE), sums, scope="metal.simdgroup", strides=[c1, c0], offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0:SIDE, 0:SIDE], A[0:SIDE, 0:SIDE], B[0:SIDE, 0:SIDE])
            T.writes(C[0:SIDE, 0:SIDE])
            T.metal.simdgroup_multiply_accumulate(
                C.data,
                get_simdgroup_index(C, c1, SIDE, SIDE),
                A.data,
                get_simdgroup_index(A, a1, SIDE, SIDE),
                B.data,
                get_simdgroup_index(B, b1, SIDE, SIDE),
                C.data,
                get_simdgroup_index(C, c1, SIDE, SIDE),
            )

    return description, implementation
