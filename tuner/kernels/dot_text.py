"""LLVM's text of functions that multiply short numbers and add the products up. Pure.

Each is ``name(sums, left, constant)`` and inlined where it is called.
"""

from __future__ import annotations

TO_BF16 = """
declare <32 x bfloat> @llvm.x86.avx512bf16.cvtne2ps2bf16.512(<16 x float>, <16 x float>)
define linkonce_odr <16 x i32> @tunesmith_to_bf16(<16 x float> %first, <16 x float> %second) alwaysinline {
  %r = call <32 x bfloat> @llvm.x86.avx512bf16.cvtne2ps2bf16.512(<16 x float> %second, <16 x float> %first)
  %s = bitcast <32 x bfloat> %r to <16 x i32>
  ret <16 x i32> %s
}
"""


def dot(name: str, intrinsic: str, sums: str, taken: str, lanes: int) -> str:
    """By a dot instruction whose two operands LLVM wants as vectors of type ``taken``."""
    ints, total = f"<{lanes} x i32>", f"<{lanes} x {sums}>"
    return f"""
declare {total} @{intrinsic}({total}, {taken}, {taken})
define linkonce_odr {total} @{name}({total} %sums, {ints} %left, {ints} %constant) alwaysinline {{
  %a = bitcast {ints} %left to {taken}
  %b = bitcast {ints} %constant to {taken}
  %r = call {total} @{intrinsic}({total} %sums, {taken} %a, {taken} %b)
  ret {total} %r
}}
"""


def matrices(name: str, intrinsic: str, sums: str, taken: str) -> str:
    """By a matrix instruction: groups of two rows, 64 bits each, times those of two columns, to four sums."""
    total = f"<4 x {sums}>"
    return f"""
declare {total} @{intrinsic}({total}, {taken}, {taken})
define linkonce_odr {total} @{name}({total} %sums, i64 %first, i64 %second, <2 x i64> %constant) alwaysinline {{
  %u = insertelement <2 x i64> poison, i64 %first, i32 0
  %v = insertelement <2 x i64> %u, i64 %second, i32 1
  %a = bitcast <2 x i64> %v to {taken}
  %b = bitcast <2 x i64> %constant to {taken}
  %r = call {total} @{intrinsic}({total} %sums, {taken} %a, {taken} %b)
  ret {total} %r
}}
"""


def widened_bytes(name: str, intrinsic: str, lanes: int) -> str:
    """By an instruction that multiplies numbers of 16 bits and adds neighbours up, the constant's bytes widened before:
    nothing saturates, as it would where bytes are multiplied to 16 bits (VPMADDUBSW)."""
    total, shorts = f"<{lanes} x i32>", f"<{lanes * 2} x i16>"
    return f"""
declare {total} @{intrinsic}({shorts}, {shorts})
define linkonce_odr {total} @{name}({total} %sums, {total} %left, <{lanes} x i16> %constant) alwaysinline {{
  %a = bitcast {total} %left to {shorts}
  %b = bitcast <{lanes} x i16> %constant to <{lanes * 2} x i8>
  %w = sext <{lanes * 2} x i8> %b to {shorts}
  %p = call {total} @{intrinsic}({shorts} %a, {shorts} %w)
  %r = add {total} %sums, %p
  ret {total} %r
}}
"""


def halves(name: str, lanes: int) -> str:
    """By multiply-adds on halves."""
    total = f"<{lanes} x half>"
    return f"""
declare {total} @llvm.fma.v{lanes}f16({total}, {total}, {total})
define linkonce_odr {total} @{name}({total} %sums, {total} %left, <{lanes} x i16> %constant) alwaysinline {{
  %b = bitcast <{lanes} x i16> %constant to {total}
  %r = call {total} @llvm.fma.v{lanes}f16({total} %left, {total} %b, {total} %sums)
  ret {total} %r
}}
"""
