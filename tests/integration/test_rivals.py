"""Rivals of a job's module, each in a process of its own: what each costs, and that none of them ends the others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.support.model_files import in_place
from tests.support.tiny_made import tiny_import, tiny_model
from tests.support.tiny_models import write_model
from tuner.bench import contestant, runtimes
from tuner.bench.graphs import onnx_of, written
from tuner.bench.running import run
from tuner.bench.spec import Result, Spec, Timing, Variant
from tuner.errors import StageFailed
from tuner.importers.cache import Shape
from tuner.importers.huggingface import load_torch
from tuner.importers.reference import sample_inputs

Run = Callable[[Spec], Result]


@pytest.fixture(scope="module")
def model() -> str:
    return str(tiny_model())


@pytest.fixture
def run_here() -> Iterator[Run]:
    """What the benchmark's process runs, in this one."""
    threads = torch.get_num_threads()
    yield run
    torch.set_num_threads(threads)


def spec(model: str, *variants: Variant, lengths: list[int] | None = None) -> Spec:
    fetched = in_place(model)
    return Spec(
        source=fetched.source,
        folder=fetched.folder,
        batch=1,
        seq_len=16,
        lengths=lengths or [],
        threads=1,
        rounds=2,
        per_round=2,
        warmup_sec=0.01,
        apart=True,
        idle_sec=0.01,
        variants=list(variants),
    )


def check_costs(timing: Timing) -> None:
    assert timing.load_ms is not None
    assert timing.load_ms > timing.median_ms
    assert min(timing.first_ms or 0, timing.after_idle_ms or 0) > 0
    assert (timing.memory_bytes or 0) > 20 * 2**20


@pytest.mark.parametrize("lengths", [None, [3, 5, 8, 16]], ids=["one shape", "texts"])
def test_each_tells_what_it_costs_and_none_ends_the_others(
    model: str, run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: list[int] | None
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    monkeypatch.setitem(runtimes.PACKAGES, "openvino", ("no_package_has_this_name",))
    result = run_here(
        spec(
            model,
            Variant(name="torch-sdpa", kind="torch-sdpa"),
            Variant(name="onnxruntime", kind="onnxruntime", optional=True),
            Variant(name="openvino", kind="openvino", optional=True),
            Variant(name="broken.onnx", kind="onnx-file", path=str(broken), optional=True),
            lengths=lengths,
        )
    )
    assert [timing.variant for timing in result.timings] == ["torch-sdpa", "onnxruntime"]
    for timing in result.timings:
        check_costs(timing)
    assert result.max_abs_errors["onnxruntime"] < 1e-4
    assert result.absent.keys() == {"openvino", "broken.onnx"}
    assert "pip install no_package_has_this_name" in result.absent["openvino"]
    assert "broken.onnx failed" in result.absent["broken.onnx"]


def test_a_graph_of_ones_own_takes_part_by_the_names_it_has(model: str, run_here: Run, tmp_path: Path) -> None:
    loaded = load_torch(in_place(model))
    file = tmp_path / "mine.onnx"
    file.write_bytes(onnx_of(loaded, sample_inputs(loaded, 1, 16)[0]))
    own = Variant(name="mine.onnx", kind="onnx-file", path=str(file), precision="int8", optional=True)
    result = run_here(spec(model, own))
    assert [timing.variant for timing in result.timings] == ["mine.onnx"]
    assert result.max_abs_errors["mine.onnx"] < 1e-4


@pytest.mark.parametrize("apart", [False, True], ids=["here", "apart"])
def test_an_artifact_for_texts_is_compared_by_its_texts_own_rows(model: str, run_here: Run, apart: bool) -> None:
    tuned = Variant(name="tuned", kind="tvm", path=str(tiny_import(Shape(texts=True)).artifact()))
    result = run_here(spec(model, tuned, lengths=[3, 5, 8, 16]).model_copy(update={"apart": apart}))
    assert 0 < result.max_abs_errors["tuned"] < 1e-4
    assert (result.timings[0].load_ms is not None) == apart


def test_what_is_not_optional_still_ends_it(model: str, run_here: Run, tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"tuned failed.*gone\.tar"):
        run_here(spec(model, Variant(name="tuned", kind="tvm", path=str(tmp_path / "gone.tar"))))


def test_a_rival_of_another_environment_that_lacks_its_library_is_left_out(
    model: str, run_here: Run, tmp_path: Path
) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # -S: without what is installed
    bare.chmod(0o755)
    told = spec(model, Variant(name="keras", kind="keras", optional=True)).model_copy(update={"keras_python": bare})
    assert "pip install tensorflow-cpu keras" in run_here(told).absent["keras"]


def test_what_no_environment_was_given_for_says_how_to_make_one(model: str, run_here: Run) -> None:
    result = run_here(spec(model, Variant(name="keras", kind="keras", optional=True)))
    assert result.timings == []
    assert "TUNER_KERAS_PYTHON" in result.absent["keras"]


FREEZE = """
import sys
from pathlib import Path
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tuner.bench import keras_bert
model, _ = keras_bert.build(Path(sys.argv[1]))
kinds = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in keras_bert.INPUTS}
traced = tf.function(lambda given: model(given, training=False)).get_concrete_function(kinds)
frozen = convert_variables_to_constants_v2(traced)
Path(sys.argv[2]).write_bytes(frozen.graph.as_graph_def().SerializeToString())
"""


@pytest.mark.skipif("TUNER_KERAS_PYTHON" not in os.environ, reason="no Python with Keras is told of")
@pytest.mark.parametrize("lengths", [None, [3, 5, 8, 16]], ids=["one shape", "texts"])
@pytest.mark.parametrize("head", ["encoder", "sequence-classification"])
def test_keras_and_a_frozen_graph_compute_what_pytorch_does(
    run_here: Run, tmp_path: Path, lengths: list[int] | None, head: str
) -> None:
    model = str(write_model(tmp_path / "model", "bert", head))
    python, folder = Path(os.environ["TUNER_KERAS_PYTHON"]), tmp_path / "written"
    loaded = load_torch(in_place(model))
    weights = written("keras", folder, lambda: loaded, None)
    modules = contestant.our_modules(tmp_path / "modules")
    graph = tmp_path / "bert.pb"
    freeze = [str(python), "-c", FREEZE, str(weights), str(graph)]
    subprocess.run(freeze, env=os.environ | {"PYTHONPATH": str(modules)}, check=True, capture_output=True)
    told = spec(
        model,
        Variant(name="keras", kind="keras", optional=True),
        Variant(name="bert.pb", kind="graphdef", path=str(graph), optional=True),
        lengths=lengths,
    )
    result = run_here(told.model_copy(update={"keras_python": python}))
    assert result.absent == {}
    assert max(result.max_abs_errors.values()) < 1e-4
    for timing in result.timings:
        check_costs(timing)
