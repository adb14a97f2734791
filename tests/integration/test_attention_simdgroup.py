"""Attention as one kernel for Apple GPUs, run without one: whatever its lengths, heads, masks and tiles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi

from tests.support import msl
from tests.support.metal import TARGET, Kernel, kernels_of
from tests.support.msl.source import lower
from tests.support.tiny_imports import import_tiny
from tests.support.tiny_models import write_model
from tuner.graph.attention_kernel import Attention, attention_of, definition
from tuner.importers import cache
from tuner.importers.families import PADDING_BIAS
from tuner.jobs.from_records import Wanted, compile_known
from tuner.kernels import attention_simdgroup, attention_tiles, written
from tuner.kernels.attention_tiles import SimdgroupAttention
from tuner.kernels.context import make_target
from tuner.kernels.defaults import default_schedule
from tuner.kernels.limits import fits, memory_of, threads_of
from tuner.kernels.precision import lowered
from tuner.kernels.simdgroup_tiles import Gpu
from tuner.kernels.workload import buffers_of, extract, workload_id
from tuner.search.guess import GPU_MODEL, Guess, guess
from tuner.targets import presets

needs_compiler = pytest.mark.skipif(msl.missing_compiler() is not None, reason=str(msl.missing_compiler()))
SMALL = SimdgroupAttention(8, 2, 16)


def attention(heads: int, dim: int, longest: int, texts: int = 1, masked: bool = True) -> Attention:
    """As the projection of queries, keys and values leaves them."""
    wide = heads * dim
    bias = (texts, 1, 1, longest) if masked else ()
    return Attention(heads, dim, dim**-0.5, (3 * wide,), (0, 0), (0, wide), (0, 2 * wide), longest, texts, bias)


def alone(found: Attention) -> Any:
    return tvm.IRModule({"main": definition(found)})


def check(
    found: Attention,
    tile: SimdgroupAttention,
    arguments: list[np.ndarray],
    sanitize: bool = False,
    tolerance: float = 1e-5,
) -> str:
    """The kernel gives what its definition does; returns its source."""
    code = lower(tvm.IRModule({"main": attention_simdgroup.write(found, tile)}), TARGET)
    *_, got = msl.run_lowered(code, arguments, sanitize=sanitize)
    np.testing.assert_allclose(got, Kernel("attention", alone(found)).expected(arguments), atol=tolerance)
    return code.metal


def arguments_of(found: Attention) -> list[np.ndarray]:
    return Kernel("attention", alone(found)).arguments()


@needs_compiler
@pytest.mark.parametrize(
    ("found", "tile"),
    [
        (attention(2, 32, 37, texts=2), SimdgroupAttention(8, 2, 32)),  # a part of a block of queries, and of keys
        (attention(1, 64, 40), SimdgroupAttention(16, 2, 16)),
        (attention(2, 24, 70, masked=False), SimdgroupAttention(16, 1, 64)),
        (attention(3, 8, 1, texts=2), SMALL),
        (attention(1, 128, 16), SimdgroupAttention(8, 4, 16)),
    ],
    ids=["odd", "base", "unmasked", "one-token", "wide"],
)
def test_it_computes_what_its_definition_says(found: Attention, tile: SimdgroupAttention) -> None:
    source = check(found, tile, arguments_of(found))
    assert source.count("kernel void") == 1
    assert "simdgroup_float8x8" in source


@needs_compiler
def test_it_passes_under_the_sanitizers_with_masked_keys_and_a_text_of_padding_alone() -> None:
    found = attention(2, 16, 21, texts=2)
    arguments = arguments_of(found)
    arguments[1][0, ..., 5:] = -PADDING_BIAS
    arguments[1][1] = -PADDING_BIAS
    check(found, SMALL, arguments, sanitize=True)


@needs_compiler
def test_a_bias_may_differ_by_head_and_operands_come_from_several_tensors() -> None:
    found = replace(attention(2, 16, 19), widths=(32, 64), query=(0, 0), key=(1, 32), value=(1, 0), bias=(1, 2, 1, 19))
    check(found, SMALL, arguments_of(found))


@needs_compiler
@pytest.mark.parametrize("bias", [(2, 2, 21, 21), (1, 1, 21, 21)])
def test_a_bias_may_differ_by_query(bias: tuple[int, ...]) -> None:
    """As relative positions do, which DeBERTa and MPNet add to their scores."""
    found = replace(attention(2, 16, 21, texts=2), bias=bias)
    check(found, SMALL, arguments_of(found), sanitize=bias[0] == 2)


@needs_compiler
@pytest.mark.parametrize(
    ("found", "tile"),
    [
        (attention(2, 32, 37, texts=2), SimdgroupAttention(8, 2, 32)),
        (attention(1, 64, 40), SimdgroupAttention(16, 2, 16)),
        (attention(2, 24, 70, masked=False), SimdgroupAttention(16, 1, 64)),
        (replace(attention(1, 40, 19), bias=(1, 1, 19, 19)), SimdgroupAttention(8, 2, 16)),
    ],
    ids=["odd", "base", "unmasked", "by-query"],
)
def test_halves_are_added_up_in_float32(found: Attention, tile: SimdgroupAttention) -> None:
    halves = replace(found, dtype="float16")
    arguments = arguments_of(halves)
    source = check(halves, tile, arguments, sanitize=tile.keys == 32, tolerance=1e-3)
    assert "simdgroup_half8x8" in source
    exact = Kernel("attention", alone(found)).expected(arguments)
    assert np.abs(Kernel("attention", alone(halves)).expected(arguments) - exact).max() < 5e-3


def test_halves_take_half_the_memory_of_operands_and_are_a_workload_of_their_own() -> None:
    found = attention(12, 64, 128)
    halves = replace(found, dtype="float16")
    tile = SimdgroupAttention(8, 4, 32)
    assert memory_of(attention_simdgroup.write(halves, tile)) == tile.shared_bytes(64, 2) < tile.shared_bytes(64)
    assert attention_tiles.cost(tile, halves, Gpu()).cycles < attention_tiles.cost(tile, found, Gpu()).cycles
    assert workload_id(alone(halves)) != workload_id(alone(found))
    assert "float16" not in str(alone(found)["main"].attrs)  # what is on record of it keeps its name


def test_a_model_at_half_precision_has_attention_of_halves(tmp_path: Path) -> None:
    write_model(tmp_path / "model", "distilbert")
    imported = import_tiny(tmp_path / "model", "encoder", 2, 16, tmp_path / "imports", "metal")
    mod = cache.load_module(tmp_path / "imports", imported)
    rows = [(one.weight, one.as_row()) for one in extract(lowered(mod, "fp16", TARGET), TARGET)]
    (name,) = (row.name for _, row in rows if row.name.startswith("attention"))
    assert name == "attention_fp16"
    wanted = Wanted(imported, 2, 16, presets.resolve("m1-metal", "local").tvm, "fp16")
    manifest = compile_known(tmp_path / "imports", wanted, rows, {}, tmp_path / "module")
    (how,) = (one["by"] for one in manifest["schedules"] if one["kernel"] == name)
    assert how == f"guessed: {GPU_MODEL}"


@needs_compiler
@pytest.mark.parametrize("kind", ["mpnet", "deberta-v2"])
def test_models_of_relative_positions_have_one_kernel_and_what_makes_their_bias_is_right(
    kind: str, tmp_path: Path
) -> None:
    kernels = kernels_of(kind, 21, tmp_path)
    by_name = {kernel.name: kernel for kernel in kernels}
    assert not {"attention_scores", "softmax", "attention_context"} & by_name.keys()
    found = attention_of(by_name["attention"].mod["main"])
    assert found is not None
    assert found.bias[1:] == (4, 21, 21)
    relative = [one for one in kernels if any(shape[1:2] == (4,) for shape, _ in buffers_of(one.mod["main"]))]
    assert len(relative) > 1
    for kernel in relative:
        arguments = kernel.arguments()
        code = lower(tvm.IRModule({"main": default_schedule(kernel.mod["main"], TARGET)}), TARGET)
        *_, got = msl.run_lowered(code, arguments)
        np.testing.assert_allclose(got, kernel.expected(arguments), atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_scores_of_any_size_neither_overflow_nor_lose_the_highest(dtype: str) -> None:
    found = replace(attention(1, 16, 33), dtype=dtype)
    arguments = arguments_of(found)
    arguments[0][:, :32] *= 60.0  # scores of thousands, rising and falling from block to block
    check(found, SMALL, arguments, tolerance=2e-3)  # as far as their own rounding goes


@pytest.mark.parametrize("dim", range(8, 161, 8))
def test_there_is_a_tile_for_every_head_that_the_graph_fuses(dim: int) -> None:
    writer = written.writer_for(alone(attention(2, dim, 128)), TARGET)
    assert writer is not None
    assert writer.choices


def test_all_tiles_of_bert_base_are_within_a_threadgroup() -> None:
    found = attention(12, 64, 128)
    writer = written.writer_for(alone(found), TARGET)
    assert writer is not None
    assert len(writer.choices) > 8
    for tile in writer.choices:
        kernel = writer.write(tile)
        assert fits(kernel, TARGET)
        assert (threads_of(kernel), memory_of(kernel)) == (32 * tile.simdgroups, tile.shared_bytes(64))


def test_the_first_tile_is_the_guess_and_what_it_is_untuned() -> None:
    mod, target = alone(attention(12, 64, 128)), make_target(presets.resolve("m1-metal", "local").tvm)
    writer = written.writer_for(mod, target)
    assert writer is not None
    first = writer.choices[0]
    assert guess(mod, target) == Guess(written.to_json(first), GPU_MODEL)
    plain = default_schedule(mod["main"], target)
    assert tvm_ffi.structural_equal(plain.body, writer.write(first).body, map_free_vars=True)
    assert written.from_json(written.to_json(first)) == first


def test_texts_of_lengths_unknown_and_heads_of_odd_sizes_have_no_kernel_on_a_gpu() -> None:
    ragged = replace(attention(2, 16, 64, masked=False), texts=0)
    assert written.writer_for(alone(ragged), TARGET) is None
    assert written.writer_for(alone(attention(2, 12, 16)), TARGET) is None
    assert written.writer_for(alone(attention(2, 16, 16)), tvm.target.Target("nvidia/nvidia-a100")) is None
