"""Instructions that multiply short numbers and add the products up, per precision and processor.

A lane of the constant holds a *group* of neighbours along the reduction: two bf16, four bytes, one half. TVM has no
word for these instructions, and takes bf16 apart into float32: they come as LLVM's own text (``dot_text.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm.target import codegen

from tuner.kernels import dot_text


@dataclass(frozen=True)
class Dot:
    """``name(sums, left, constant)`` of ``lanes`` each: adds ``group`` products to each lane's sum, of type ``sums``.

    ``left`` is what the left operand's numbers are rounded to: bytes say whether they are signed. ``constant`` is the
    type of its lanes; where the left operand's are of 16 bits, the constant's bytes are widened when they are loaded.
    ``convert``: a function that rounds two vectors of float32, the first ones first, to one of bf16, where there is an
    instruction for it. ``most_steps``: so many products are added up, in 16 bits, before they go on in float32; 0: any
    number. ``rows``: that it takes at a time; of two, it multiplies them with two columns, and four sums are a vector.
    """

    name: str
    precision: str
    feature: str
    lanes: int
    registers: int
    text: str
    group: int
    left: str
    constant: str = "int32"
    sums: str = "int32"
    convert: str = ""
    most_steps: int = 0
    rows: int = 1

    @property
    def widens(self) -> bool:
        """Are the constant's bytes widened when they are loaded?"""
        return self.left == "int16"


def _of_pairs(name: str, feature: str, lanes: int, intrinsic: str, convert: str = "", converting: str = "") -> Dot:
    text = dot_text.dot(name, intrinsic, "float", f"<{lanes * 2} x bfloat>", lanes) + converting
    return Dot(name, "bf16", feature, lanes, 32, text, 2, "bfloat16", sums="float32", convert=convert)


def _of_bytes(name: str, feature: str, lanes: int, intrinsic: str, taken: str, left: str = "uint8") -> Dot:
    registers = 16 if lanes == 8 else 32
    return Dot(name, "int8", feature, lanes, registers, dot_text.dot(name, intrinsic, "i32", taken, lanes), 4, left)


def _of_widened_bytes(name: str, feature: str, lanes: int, registers: int, intrinsic: str) -> Dot:
    text = dot_text.widened_bytes(name, intrinsic, lanes)
    return Dot(name, "int8", feature, lanes, registers, text, 2, "int16", constant="int16")


def _of_halves(name: str, feature: str, lanes: int, most_steps: int) -> Dot:
    text = dot_text.halves(name, lanes)
    return Dot(name, "fp16", feature, lanes, 32, text, 1, "float16", "int16", "float16", most_steps=most_steps)


# The best of a precision first; a register less where a product needs one before it is added. VDPBF16PS, VPDPBUSD and
# VPMADDWD: Intel, "Architecture Instruction Set Extensions"; SDOT, BFDOT, FMLA, SMMLA and BFMMLA: Arm, "A64 Instruction
# Set Architecture". Sums of 64 halves lose half as much as bf16 does.
_DOTS = (
    _of_pairs(
        "tunesmith_dpbf16ps",
        "avx512bf16",
        16,
        "llvm.x86.avx512bf16.dpbf16ps.512",
        "tunesmith_to_bf16",
        dot_text.TO_BF16,
    ),
    _of_pairs("tunesmith_bfdot", "bf16", 4, "llvm.aarch64.neon.bfdot.v4f32.v8bf16"),
    _of_halves("tunesmith_fmla_fp16", "fullfp16", 8, most_steps=64),
    _of_bytes("tunesmith_vpdpbusd_512", "avx512vnni", 16, "llvm.x86.avx512.vpdpbusd.512", "<16 x i32>"),
    _of_bytes("tunesmith_vpdpbusd_256", "avxvnni", 8, "llvm.x86.avx512.vpdpbusd.256", "<8 x i32>"),
    _of_bytes("tunesmith_sdot", "dotprod", 4, "llvm.aarch64.neon.sdot.v4i32.v16i8", "<16 x i8>", "int8"),
    _of_widened_bytes("tunesmith_vpmaddwd_512", "avx512bw", 16, 31, "llvm.x86.avx512.pmaddw.d.512"),
    _of_widened_bytes("tunesmith_vpmaddwd_256", "avx2", 8, 15, "llvm.x86.avx2.pmadd.wd"),
)


def _of_matrices(name: str, precision: str, feature: str, intrinsic: str, types: tuple[str, str], left: str) -> Dot:
    text, group = dot_text.matrices(name, intrinsic, *types), 64 // (16 if left == "bfloat16" else 8)
    sums = {"float": "float32", "i32": "int32"}[types[0]]
    return Dot(name, precision, feature, 4, 32, text, group, left, constant="int64", sums=sums, rows=2)


# Where a core has them they may do twice as many products as the above, of two rows at a time; they round as these do.
_MATRICES = (
    _of_matrices(
        "tunesmith_smmla", "int8", "i8mm", "llvm.aarch64.neon.smmla.v4i32.v16i8", ("i32", "<16 x i8>"), "int8"
    ),
    _of_matrices("tunesmith_bfmmla", "bf16", "bf16", "llvm.aarch64.neon.bfmmla", ("float", "<8 x bfloat>"), "bfloat16"),
)

# What Apple's GPUs do with halves, whose kernels are scheduled (``simdgroup.py``): this says how they round.
_SIMDGROUP = Dot("simdgroup_half8x8", "fp16", "", 1, 0, "", 1, "float16", sums="float32")


def dot_of(precision: str, target: Any) -> Dot | None:
    """The instruction by which a target multiplies at a precision; None where it has none."""
    if target.kind.name == "metal":
        return _SIMDGROUP if precision == _SIMDGROUP.precision else None
    return next(iter(_found(_DOTS, precision, target)), None)


def forms_of(precision: str, target: Any) -> list[Dot]:
    """All instructions that a kernel at a precision may be written with, whatever is best for most of them first."""
    return [*_found(_MATRICES, precision, target), *_found(_DOTS, precision, target)[:1]]


def _found(dots: Sequence[Dot], precision: str, target: Any) -> list[Dot]:
    if target.kind.name != "llvm":
        return []
    features = {str(feature) for feature in codegen.llvm_get_cpu_features(target)}
    return [one for one in dots if one.precision == precision and one.feature in features]


def dots_of(target: Any) -> dict[str, Dot]:
    """The instruction of each precision that a target has one for."""
    found = {precision: dot_of(precision, target) for precision in dict.fromkeys(dot.precision for dot in _DOTS)}
    return {precision: dot for precision, dot in found.items() if dot is not None}
