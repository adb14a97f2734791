"""Products that a layer norm is part of, for Apple GPUs and run without one: whatever their shapes and tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm
from safetensors.numpy import load_file

from tests.support import msl
from tests.support.metal import TARGET, Kernel
from tests.support.msl.source import lower
from tests.support.tiny_imports import import_tiny
from tests.support.tiny_models import write_model
from tuner.graph.norm_product import NormProduct, definition
from tuner.importers import cache
from tuner.jobs.from_records import Wanted, compile_known
from tuner.kernels import norm_simdgroup, written
from tuner.kernels.limits import fits, threads_of
from tuner.kernels.precision import lowered
from tuner.kernels.simdgroup_tiles import SIMD_WIDTH, TILES, Tile
from tuner.kernels.workload import extract
from tuner.search.guess import GPU_MODEL
from tuner.targets import presets

needs_compiler = pytest.mark.skipif(msl.missing_compiler() is not None, reason=str(msl.missing_compiler()))
SMALL, FLAT = TILES[2], TILES[3]
ODD = NormProduct(37, 32, 36, 1e-5, "gelu")  # a part of a tile, down and across


def alone(product: NormProduct) -> Kernel:
    return Kernel("norm_product", tvm.IRModule({"main": definition(product)}))


def arguments_of(product: NormProduct) -> list[np.ndarray]:
    """With the weights' own column sums."""
    found = alone(product).arguments()
    found[2] = found[1].astype("float32").sum(axis=0)
    found[4][...] = found[5][...] = np.nan
    return found


def check(
    product: NormProduct, tile: Tile, arguments: list[np.ndarray], sanitize: bool = False, tolerance: float = 1e-5
) -> None:
    """Means, scales and result are what a norm and a product one after the other give."""
    code = lower(tvm.IRModule({"main": norm_simdgroup.write(product, tile)}), TARGET)
    means, scales, got = msl.run_lowered(code, arguments, sanitize=sanitize)[-3:]
    rows, weights, bias = (arguments[n].astype("float64") for n in (0, 1, 3))
    scale = 1 / np.sqrt(rows.var(axis=1) + product.epsilon)
    wanted = (rows - rows.mean(axis=1, keepdims=True)) * scale[:, None] @ weights + bias
    np.testing.assert_allclose(means, rows.mean(axis=1), atol=1e-6 * np.abs(rows).max())
    np.testing.assert_allclose(scales, scale, rtol=1e-5)
    if not product.activation:
        np.testing.assert_allclose(got, wanted, atol=tolerance * np.abs(wanted).max())
    np.testing.assert_allclose(got, alone(product).expected(arguments), atol=tolerance * np.abs(wanted).max())


@needs_compiler
@pytest.mark.parametrize("tile", norm_simdgroup.TILES, ids=lambda tile: tile.name)
def test_every_tile_is_right(tile: Tile) -> None:
    product = NormProduct(34, 32, 36, 1e-12)
    check(product, tile, arguments_of(product))


@needs_compiler
def test_odd_shapes_pass_under_the_sanitizers() -> None:
    check(ODD, SMALL, arguments_of(ODD), sanitize=True)


@needs_compiler
@pytest.mark.parametrize("activation", ["gelu_tanh", "relu"])
def test_an_activation_may_follow(activation: str) -> None:
    product = NormProduct(16, 32, 16, 1e-5, activation)
    check(product, FLAT, arguments_of(product))


def test_an_activation_says_what_it_follows_once() -> None:
    """Else its source grows by hundreds of kilobytes, which a Mac compiles at each load."""
    script = norm_simdgroup.write(NormProduct(16, 32, 16, 1e-5, "gelu_tanh"), FLAT).script()
    bias = "buffer_3["
    assert script.count(bias) == 2, "as what the kernel reads, and where it is added"


@needs_compiler
def test_rows_far_from_zero_keep_their_spread() -> None:
    product = NormProduct(16, 32, 16, 1e-12)
    arguments = arguments_of(product)
    arguments[0] += 300.0
    check(product, FLAT, arguments, tolerance=1e-3)  # of the products: the weights' sums are rounded too


@needs_compiler
def test_operands_of_halves_are_added_up_in_float32() -> None:
    product = NormProduct(33, 32, 36, 1e-5, "", "float16")
    check(product, SMALL, arguments_of(product), tolerance=2e-3)


def test_a_model_at_half_precision_folds_its_norms_into_products_of_halves(tmp_path: Path) -> None:
    write_model(tmp_path / "model", "distilbert")
    imported = import_tiny(tmp_path / "model", "encoder", 2, 64, tmp_path / "imports", "metal")
    mod = lowered(cache.load_module(tmp_path / "imports", imported), "fp16", TARGET)
    rows = [(one.weight, one.as_row()) for one in extract(mod, TARGET)]
    folded = [row for _, row in rows if row.name in ("norm_product_fp16", "norm_product_gelu_fp16")]
    assert len(folded) == 2
    wanted = Wanted(imported, 2, 64, presets.resolve("m1-metal", "local").tvm, "fp16")
    manifest = compile_known(tmp_path / "imports", wanted, rows, {}, tmp_path / "module")
    how = {one["kernel"]: one["by"] for one in manifest["schedules"]}
    assert all(how[row.name] == f"guessed: {GPU_MODEL}" for row in folded)
    params = load_file(tmp_path / "module" / "params.safetensors")
    assert sum(one.dtype == np.float16 for one in params.values()) == 2 * 4  # products of two layers


def test_all_tiles_of_bert_base_are_within_a_threadgroup_and_keep_a_core_busy() -> None:
    for columns in (2304, 3072):
        product = NormProduct(128, 768, columns, 1e-12)
        writer = written.writer_for(alone(product).mod, TARGET)
        assert writer is not None
        assert set(writer.choices) == set(norm_simdgroup.TILES)
        for tile in writer.choices:
            kernel = writer.write(tile)
            assert fits(kernel, TARGET)
            assert threads_of(kernel) == tile.threads(SIMD_WIDTH)
        assert written.from_json(written.to_json(writer.choices[0])) == writer.choices[0]
