"""Instructions that multiply short numbers and add the products up in 32 bits, per precision and processor.

A lane of 32 bits holds a *group* of neighbours along the reduction: two bf16, four bytes, or two numbers of 16 bits.
TVM has no word for these instructions, and takes bf16 apart into float32: they come as LLVM's own text, which is
inlined where it is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.target import codegen


@dataclass(frozen=True)
class Dot:
    """``name(sums, left, constant)`` of ``lanes`` each: adds ``group`` products to each lane's sum.

    ``left`` and ``constant`` are the types of their lanes: of bytes, ``left`` says whether they are signed; where they
    are of 16 bits, the constant's lanes are half as wide, and its bytes are widened when they are loaded. ``convert``:
    a function that rounds two vectors of float32, the first ones first, to one of bf16, where there is an instruction
    for it.
    """

    name: str
    precision: str
    feature: str
    lanes: int
    registers: int
    text: str
    left: str = "uint8"
    constant: str = "int32"
    convert: str = ""

    @property
    def group(self) -> int:
        """Numbers in a lane."""
        return 2 if self.precision == "bf16" else 32 // int(self.left.removeprefix("u").removeprefix("int"))

    @property
    def sums(self) -> str:
        """Type of the sums."""
        return {"bf16": "float32", "int8": "int32"}[self.precision]


def _text(name: str, intrinsic: str, sums: str, taken: str, lanes: int) -> str:
    """The function of a dot instruction whose two operands LLVM wants as vectors of type ``taken``."""
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


def _widened(name: str, intrinsic: str, lanes: int) -> str:
    """The function of an instruction that multiplies numbers of 16 bits and adds neighbours up, the constant's bytes
    widened before: nothing saturates, as it would where bytes are multiplied to 16 bits (VPMADDUBSW)."""
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


_TO_BF16 = """
declare <32 x bfloat> @llvm.x86.avx512bf16.cvtne2ps2bf16.512(<16 x float>, <16 x float>)
define linkonce_odr <16 x i32> @tunesmith_to_bf16(<16 x float> %first, <16 x float> %second) alwaysinline {
  %r = call <32 x bfloat> @llvm.x86.avx512bf16.cvtne2ps2bf16.512(<16 x float> %second, <16 x float> %first)
  %s = bitcast <32 x bfloat> %r to <16 x i32>
  ret <16 x i32> %s
}
"""

# The best of a precision first; a register less where a product needs one before it is added. VDPBF16PS, VPDPBUSD and
# VPMADDWD: Intel, "Architecture Instruction Set Extensions"; SDOT and BFDOT: Arm, "A64 Instruction Set Architecture".
_DOTS = (
    Dot(
        "tunesmith_dpbf16ps",
        "bf16",
        "avx512bf16",
        16,
        32,
        _text("tunesmith_dpbf16ps", "llvm.x86.avx512bf16.dpbf16ps.512", "float", "<32 x bfloat>", 16) + _TO_BF16,
        convert="tunesmith_to_bf16",
    ),
    Dot(
        "tunesmith_bfdot",
        "bf16",
        "bf16",
        4,
        32,
        _text("tunesmith_bfdot", "llvm.aarch64.neon.bfdot.v4f32.v8bf16", "float", "<8 x bfloat>", 4),
    ),
    Dot(
        "tunesmith_vpdpbusd_512",
        "int8",
        "avx512vnni",
        16,
        32,
        _text("tunesmith_vpdpbusd_512", "llvm.x86.avx512.vpdpbusd.512", "i32", "<16 x i32>", 16),
    ),
    Dot(
        "tunesmith_vpdpbusd_256",
        "int8",
        "avxvnni",
        8,
        16,
        _text("tunesmith_vpdpbusd_256", "llvm.x86.avx512.vpdpbusd.256", "i32", "<8 x i32>", 8),
    ),
    Dot(
        "tunesmith_sdot",
        "int8",
        "dotprod",
        4,
        32,
        _text("tunesmith_sdot", "llvm.aarch64.neon.sdot.v4i32.v16i8", "i32", "<16 x i8>", 4),
        left="int8",
    ),
    Dot(
        "tunesmith_vpmaddwd_512",
        "int8",
        "avx512bw",
        16,
        31,
        _widened("tunesmith_vpmaddwd_512", "llvm.x86.avx512.pmaddw.d.512", 16),
        left="int16",
        constant="int16",
    ),
    Dot(
        "tunesmith_vpmaddwd_256",
        "int8",
        "avx2",
        8,
        15,
        _widened("tunesmith_vpmaddwd_256", "llvm.x86.avx2.pmadd.wd", 8),
        left="int16",
        constant="int16",
    ),
)


def dot_of(precision: str, target: Any) -> Dot | None:
    """The instruction by which a target multiplies at a precision; None where it has none."""
    if target.kind.name != "llvm":
        return None
    features = {str(feature) for feature in codegen.llvm_get_cpu_features(target)}
    return next((dot for dot in _DOTS if dot.precision == precision and dot.feature in features), None)


def dots_of(target: Any) -> dict[str, Dot]:
    """The instruction of each precision that a target has one for."""
    found = {precision: dot_of(precision, target) for precision in dict.fromkeys(dot.precision for dot in _DOTS)}
    return {precision: dot for precision, dot in found.items() if dot is not None}
