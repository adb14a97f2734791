"""Products at a lower precision: what their kernels compute, and by which instructions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tvm
from safetensors.numpy import save_file
from tvm import relax, te

from tests.support.dot_products import COLUMNS, DEPTH, ERROR, Load, check, library, operands, product, runner
from tests.support.gates import gated, gated_by_numpy
from tests.support.tiny_imports import local_target
from tuner.artifact.machine import misfit
from tuner.artifact.weights import read_weights
from tuner.errors import PrecisionUnavailable
from tuner.importers import rounded
from tuner.kernels import dot_blocks, dot_packing, row_products, written
from tuner.kernels.context import make_target
from tuner.kernels.dots import dot_of, forms_of
from tuner.kernels.precision import LOWER, lowered, precision_of
from tuner.kernels.workload import describe

ARM = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "apple-m2", "num-cores": 2}
ZEN4 = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "znver4"}


@pytest.mark.parametrize("precision", LOWER)
def test_a_gate_takes_sums_of_both_its_halves(precision: str) -> None:
    target = local_target()
    mod, dot = gated(33, COLUMNS // 2, DEPTH), dot_of(precision, make_target(target))
    if dot is None:
        pytest.skip(f"this processor has no instructions for {precision}")
    found = row_products.find(mod)
    assert found is not None
    left, constant, bias = operands(33)
    wanted, tile = gated_by_numpy(left, constant, bias), dot_blocks.tiles(found, dot)[0]
    packed = np.zeros(dot_packing.packed_shape(found, tile, dot), dot.constant)
    packed = computed(target, dot_packing.packer(found, tile, dot), [constant, packed])
    for given, is_packed in ((packed, True), (constant, False)):
        out, kernel = np.zeros(wanted.shape, "float32"), dot_blocks.write(mod, found, tile, dot, packed=is_packed)
        got = computed(target, kernel, [left, given, bias, out])
        assert np.abs(got - wanted).max() < 2 * ERROR[precision] * np.abs(wanted).max(), (tile, is_packed)


def here(target: dict[str, Any]) -> Load:
    return lambda functions: runner(library(functions, make_target(target)), tvm.cpu())


def computed(target: dict[str, Any], kernel: Any, arrays: list[np.ndarray]) -> np.ndarray:
    return here(target)({"main": kernel})("main", arrays)


# Each of our instructions that this machine may have: a processor of an earlier kind runs on it as well.
MACHINES = [local_target(), *({**local_target(), "mcpu": mcpu} for mcpu in ("x86-64-v3", "x86-64-v4"))]


@pytest.mark.parametrize("target", MACHINES, ids=lambda target: str(target["mcpu"]))
@pytest.mark.parametrize("precision", LOWER)
@pytest.mark.parametrize(("rows", "symbolic"), [(1, False), (33, False), (7, True)])
def test_kernels_of_this_machine_round_and_no_more(
    target: dict[str, Any], precision: str, rows: int, symbolic: bool
) -> None:
    if misfit({"target": target}):
        pytest.skip(f"this processor is no {target['mcpu']}")
    dot = dot_of(precision, make_target(target))
    if dot is None:
        pytest.skip(f"{target['mcpu']} has no instructions for {precision}")
    check(dot, here(target), rows, symbolic)


@pytest.mark.parametrize("outlier", [300.0, -300.0])
@pytest.mark.parametrize("place", [0, 37, DEPTH - 1])
def test_one_value_far_beyond_the_others_does_not_make_them_coarse(outlier: float, place: int) -> None:
    target = local_target()
    dot, mod = dot_of("int8", make_target(target)), product(2)
    if dot is None:
        pytest.skip("this processor has no instructions for int8")
    found = row_products.find(mod)
    assert found is not None
    left, constant, bias = operands(2)
    left[1, place] = outlier
    others = left.copy()
    others[1, place] = 0.0
    kernel = dot_blocks.write(mod, found, dot_blocks.tiles(found, dot)[0], dot, packed=False)
    out, exact, part = np.zeros((2, COLUMNS), "float32"), left @ constant + bias, np.abs(others @ constant).max()
    got = computed(target, kernel, [left, constant, bias, out])
    # What the outlier is multiplied with is rounded to a byte, like everything else in its column.
    allowed = ERROR["int8"] * part + abs(outlier) * np.abs(constant).max(axis=0) / 127 / 2
    assert (np.abs(got - np.maximum(exact, 0.0)) < allowed * 1.01).all()


@pytest.mark.parametrize("target", MACHINES, ids=lambda target: str(target["mcpu"]))
@pytest.mark.parametrize("precision", LOWER)
def test_pytorch_rounds_as_the_kernels_do(target: dict[str, Any], precision: str) -> None:
    if misfit({"target": target}):
        pytest.skip(f"this processor is no {target['mcpu']}")
    mod, dot = product(9), dot_of(precision, make_target(target))
    if dot is None:
        pytest.skip(f"{target['mcpu']} has no instructions for {precision}")
    found = row_products.find(mod)
    assert found is not None
    left, constant, bias = operands(9)
    kernel = dot_blocks.write(mod, found, dot_blocks.tiles(found, dot)[0], dot, packed=False)
    got = computed(target, kernel, [left, constant, bias, np.zeros((9, COLUMNS), "float32")])
    foretold = rounded.product(torch.from_numpy(left), torch.from_numpy(constant.T), dot).numpy() + bias
    exact = np.maximum(left @ constant + bias, 0.0)
    off = np.abs(got - np.maximum(foretold, 0.0)).max()
    assert off < 0.02 * np.abs(got - exact).max(), "what rounding changes is foretold"


def test_sixteen_bits_round_less_than_bytes_do_and_never_overflow() -> None:
    if misfit({"target": MACHINES[1]}):
        pytest.skip("this processor has no AVX2")
    left = np.full((1, DEPTH), 40.0, "float32")
    left[0, 0] = -1.0  # all others are as large as a number can be
    constant = np.full((DEPTH, COLUMNS), 0.5, "float32")
    wanted, out = np.maximum(left.astype("float64") @ constant, 0.0), np.zeros((1, COLUMNS), "float32")
    mod, dot = product(1), dot_of("int8", make_target(MACHINES[1]))
    found = row_products.find(mod)
    assert dot is not None
    assert found is not None
    kernel = dot_blocks.write(mod, found, dot_blocks.tiles(found, dot)[0], dot, packed=False)
    got = computed(MACHINES[1], kernel, [left, constant, np.zeros(COLUMNS, "float32"), out])
    assert np.abs(got / wanted - 1.0).max() < 1e-4


@pytest.mark.parametrize(
    ("mcpu", "triple", "precision", "instruction"),
    [
        ("znver4", "x86_64-linux-gnu", "bf16", "vdpbf16ps"),
        ("znver4", "x86_64-linux-gnu", "int8", "vpdpbusd"),
        ("cascadelake", "x86_64-linux-gnu", "int8", "vpdpbusd"),
        ("alderlake", "x86_64-linux-gnu", "int8", "{vex}"),
        ("skylake-avx512", "x86_64-linux-gnu", "int8", "vpmaddwd"),
        ("x86-64-v3", "x86_64-linux-gnu", "int8", "vpmaddwd"),
        ("apple-m1", "arm64-apple-macos", "int8", "sdot"),
        ("apple-m1", "arm64-apple-macos", "fp16", "fmla.8h"),
        ("apple-m2", "arm64-apple-macos", "bf16", "bfmmla"),
        ("neoverse-n2", "aarch64-linux-gnu", "int8", "smmla"),
        ("neoverse-n1", "aarch64-linux-gnu", "int8", "sdot"),
    ],
)
def test_sums_are_of_dot_instructions(mcpu: str, triple: str, precision: str, instruction: str) -> None:
    target = make_target({"kind": "llvm", "mtriple": triple, "mcpu": mcpu, "num-cores": 2})
    (kernel,) = [f for f in lowered(product(32), precision, target).functions.values() if precision_of(f) == precision]
    writer = written.writer_for(tvm.IRModule({"main": kernel}), target)
    assert writer is not None
    with target:
        assembly = tvm.compile(writer.module(writer.choices[0]), target).mod.inspect_source("asm")
    tile = writer.choices[0]
    assert assembly.count(instruction) >= tile.rows * tile.vectors


def test_narrow_panels_of_few_rows_are_asked_for_whole_and_far_ahead() -> None:
    target = make_target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v3", "num-cores": 2})
    kernels = lowered(product(16, 768, 96), "int8", target).functions.values()
    (kernel,) = [one for one in kernels if precision_of(one) == "int8"]
    writer = written.writer_for(tvm.IRModule({"main": kernel}), target)
    assert writer is not None
    tile = writer.choices[0]
    assert (tile.rows, tile.vectors) == (13, 1), "two blocks of one narrow panel"
    with target:
        assembly = tvm.compile(writer.module(tile), target).mod.inspect_source("asm")
    stretch_bytes, asked = (
        tile.stretch * tile.width * 2,
        {int(n) for n in re.findall(r"prefetcht1\s+(\d+)\(", assembly)},
    )
    assert asked == set(range(12 * stretch_bytes, 13 * stretch_bytes, 64))


@pytest.mark.parametrize("mcpu", ["x86-64-v3", "znver4", "apple-m1", "apple-m2"])
def test_what_each_instruction_takes_can_be_loaded(mcpu: str, tmp_path: Path) -> None:
    triple = "arm64-apple-macos" if mcpu.startswith("apple") else "x86_64-linux-gnu"
    target = make_target({"kind": "llvm", "mtriple": triple, "mcpu": mcpu})
    packed = {dot.name: np.arange(8, dtype=dot.constant) for one in LOWER for dot in forms_of(one, target)}
    save_file(packed, tmp_path / "params.safetensors")
    found = read_weights(
        (tmp_path / "params.safetensors", 0, (tmp_path / "params.safetensors").stat().st_size)
    ).arrays()
    assert {name: array.dtype for name, array in found.items()} == {name: a.dtype for name, a in packed.items()}


def test_bytes_that_are_widened_are_so_for_many_rows() -> None:
    target = make_target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v3"})
    dot, found = dot_of("int8", target), row_products.find(product(32, 768, 2304))
    assert dot is not None
    assert found is not None
    assert (tile := dot_blocks.tiles(found, dot)[0]).rows * tile.vectors > 9, "three by three have as few loads"


@pytest.mark.parametrize(
    ("mcpu", "precision", "others"),
    [
        ("x86-64-v3", "bf16", "fp32 and int8"),
        ("x86-64-v3", "fp16", "fp32 and int8"),
        ("znver4", "fp16", "fp32 and bf16"),
    ],
)
def test_a_processor_without_the_instructions_says_what_it_has(mcpu: str, precision: str, others: str) -> None:
    target = make_target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": mcpu})
    with pytest.raises(PrecisionUnavailable, match=f"{mcpu} has no instructions for {precision}") as refused:
        lowered(product(32), precision, target)
    assert others in refused.value.hint


def test_only_what_is_worth_it_and_divides_is_lowered() -> None:
    target = make_target(ZEN4)
    mod = product(32)
    for name, (depth, columns) in {"labels": (128, 2), "odd": (100, 96)}.items():
        mod[name] = product(32, depth, columns)["main"].with_attr("global_symbol", name)
    found = {
        str(var.name_hint): precision_of(function) for var, function in lowered(mod, "int8", target).functions.items()
    }
    assert found == {"main": "int8", "labels": "fp32", "odd": "fp32"}


def test_a_kernel_of_each_precision_is_a_workload_of_its_own() -> None:
    targets = {"fp16": ARM}
    made = {
        precision: lowered(product(32), precision, make_target(targets.get(precision, ZEN4)))
        for precision in ("fp32", *LOWER)
    }
    found = [describe(mod, "matmul", 1) for mod in made.values()]
    assert [one.name for one in found] == ["matmul", "matmul_bf16", "matmul_fp16", "matmul_int8"]
    assert len({one.id for one in found}) == 4


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_gpu_takes_a_weight_in_halves_unless_another_kernel_reads_it(is_shared: bool) -> None:
    builder = relax.BlockBuilder()
    x, weight, bias, other = (
        relax.Var(name, relax.TensorType(shape, "float32"))
        for name, shape in {"x": (4, 64), "weight": (64, 32), "bias": (32,), "other": (64, 32)}.items()
    )
    plain = te.placeholder((64, 32), name="plain")
    twice = te.create_prim_func([plain, te.compute((64, 32), lambda i, j: plain[i, j] * 2.0, name="twice")])
    kernels = {"product": product(4, 64, 32)["main"], "twice": twice}
    with builder.function("main", [x, weight, bias, other], attrs={"num_input": 1}):
        with builder.dataflow():
            one, two = (builder.add_func(func.without_attr("global_symbol"), name) for name, func in kernels.items())
            y = builder.emit(relax.call_tir(one, [x, weight, bias], relax.TensorType((4, 32), "float32")))
            z = builder.emit(
                relax.call_tir(two, [weight if is_shared else other], relax.TensorType((64, 32), "float32"))
            )
            outputs = builder.emit_output(relax.Tuple([y, z]))
        builder.emit_func_output(outputs)
    target = tvm.target.Target("apple/m1-gpu")
    if is_shared:
        with pytest.raises(PrecisionUnavailable, match="No product of the model"):
            lowered(builder.get(), "fp16", target)
        return
    main = lowered(builder.get(), "fp16", target)["main"]
    assert [str(param.ty.dtype) for param in main.params] == ["float32", "float16", "float32", "float32"]
