"""From PyTorch to kernels: which ones a transformer becomes, and that together they compute what PyTorch does."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache as cache_results
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax, te

from tests.support.processes import ROOT, python_code
from tests.support.tiny_imports import compile_plainly, import_tiny, local_target
from tests.support.tiny_models import CONFIGS, write_model
from tuner.artifact.loader import ArtifactError, Runner
from tuner.graph.as_json import from_json
from tuner.graph.pipeline import in_place
from tuner.importers import cache
from tuner.importers.cache import Imported
from tuner.importers.comparison import compare
from tuner.kernels.workload import (
    ExtractedWorkload,
    buffers_of,
    extract,
    ids_of,
    layout_free,
    module_from_json,
    summarize,
    workload_id,
)

BATCH, SEQ_LEN = 2, 48
ROWS = BATCH * SEQ_LEN
CASES = [
    *((kind, "encoder") for kind in ("bert", "distilbert", "roberta", "electra")),
    ("bert", "sequence-classification"),
    ("distilbert", "sequence-classification"),
]


@dataclass
class Case:
    """An imported model and its kernels."""

    kind: str
    folder: Path
    root: Path
    imported: Imported
    mod: Any
    workloads: list[ExtractedWorkload]

    @property
    def hidden(self) -> int:
        return int(CONFIGS[self.kind].get("hidden_size") or CONFIGS[self.kind]["dim"])

    @property
    def layers(self) -> int:
        return int(CONFIGS[self.kind].get("num_hidden_layers") or CONFIGS[self.kind]["n_layers"])

    def calls(self) -> list[Any]:
        """Every launch of a kernel in ``main``."""
        found: list[Any] = []

        def visit(expr: Any) -> None:
            if isinstance(expr, relax.Call) and str(getattr(expr.op, "name", "")) == "relax.call_tir":
                found.append(expr)

        relax.analysis.post_order_visit(self.mod["main"], visit)
        return found

    def projections(self) -> list[ExtractedWorkload]:
        """Kernels over all rows that multiply by a constant matrix."""
        return [w for w in self.workloads if _matrix(w) is not None and buffers_of(w.mod["main"])[0][0][0] == ROWS]


def _matrix(workload: ExtractedWorkload) -> tuple[int, ...] | None:
    """The shape of the constant matrix a kernel multiplies by."""
    func = workload.mod["main"]
    shapes = [buffers_of(func)[index][0] for index in sorted(layout_free(func))]
    return next((shape for shape in shapes if len(shape) == 2 and workload.flops >= 2 * ROWS / BATCH), None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Case]:
    """A model of a kind and head, imported once."""

    @cache_results
    def make(kind: str, head: str) -> Case:
        place = tmp_path_factory.mktemp("made")
        folder = write_model(place / "model", kind, head)
        imported = import_tiny(folder, head, BATCH, SEQ_LEN, place / "imports")
        mod = cache.load_module(place / "imports", imported)
        return Case(kind, folder, place / "imports", imported, mod, extract(mod, tvm.target.Target(local_target())))

    return make


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def case(request: pytest.FixtureRequest, made: Callable[..., Case]) -> Case:
    return made(*request.param)


@pytest.fixture(scope="module")
def compiled(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return compile_plainly(case.root, case.imported, BATCH, SEQ_LEN, tmp_path_factory.mktemp("compiled"))


def test_queries_keys_and_values_are_one_product(case: Case) -> None:
    widths = [shape[1] for w in case.projections() for shape in [_matrix(w)] if shape for _ in range(w.weight)]
    assert widths.count(3 * case.hidden) == case.layers


def test_bias_activation_and_residual_are_part_of_the_product(case: Case) -> None:
    per_layer = {w.summary: w.weight for w in case.projections() if w.weight == case.layers}
    assert len(per_layer) == 4, per_layer  # QKV, output, up, down
    residual = f"float32[{ROWS},{case.hidden}]"
    assert sum(summary.split(" -> ")[0].endswith(residual) for summary in per_layer) == 2
    launches = sum(w.weight for w in case.workloads if _computes_only_elementwise(w))
    assert launches <= 1, "an element-wise operation after the embeddings is a kernel of its own"


def _computes_only_elementwise(workload: ExtractedWorkload) -> bool:
    """Float in, float out, no more than a few operations an element, no reduction, no movement."""
    buffers = buffers_of(workload.mod["main"])
    out = float(np.prod(buffers[-1][0]))
    floats = all(dtype == "float32" for _, dtype in buffers)
    return floats and 0 < workload.flops <= 3 * out and all(np.prod(shape) <= out for shape, _ in buffers)


def test_nothing_that_depends_on_parameters_only_is_left_for_run_time(case: Case) -> None:
    parameters = list(case.mod["main"].params)[len(case.imported.inputs) :]
    for call in case.calls():
        arguments = [a for a in call.args[1].fields if isinstance(a, relax.Var)]
        assert any(all(not a.same_as(p) for p in parameters) for a in arguments), call


def test_no_kernel_copies_but_the_transposed_keys(case: Case) -> None:
    moves = [w.name for w in case.workloads if w.tunable and w.flops == 0]
    assert all(name.startswith("keys_t") for name in moves), moves
    assert sum(w.weight for w in case.workloads if w.name in moves) <= case.layers


def test_activations_are_rows_by_features(case: Case) -> None:
    for workload in case.workloads:
        if workload.name.startswith(("layer_norm", "matmul", "gelu")):
            assert {len(shape) for shape, _ in buffers_of(workload.mod["main"])} <= {1, 2}, workload.summary


def test_a_layer_is_ten_launches(case: Case) -> None:
    around = 10  # embeddings, mask, pooler and head
    assert len(case.calls()) <= 10 * case.layers + around


def test_weights_of_workloads_count_the_launches(case: Case) -> None:
    assert sum(w.weight for w in case.workloads) == len(case.calls())


def test_kernels_that_read_integers_are_not_tuned(case: Case) -> None:
    for workload in case.workloads:
        has_integers = any(not dtype.startswith("float") for _, dtype in buffers_of(workload.mod["main"]))
        assert workload.tunable == (not has_integers), workload.summary


def test_workloads_are_listed_in_the_order_of_the_graph(case: Case) -> None:
    called = [summarize(case.mod[call.args[0]]) for call in case.calls()]
    listed = [called.index(w.summary) for w in case.workloads]
    assert listed == sorted(listed)


def test_workload_survives_its_json(case: Case) -> None:
    for workload in case.workloads:
        assert workload_id(module_from_json(workload.tir)) == workload.id


def test_module_computes_what_pytorch_does_on_full_padded_and_mixed_batches(case: Case, compiled: Runner) -> None:
    samples = cache.load_samples(case.root, case.imported)
    lengths = [tuple(int(n) for n in sample.inputs["attention_mask"].sum(axis=1)) for sample in samples]
    assert (SEQ_LEN,) * BATCH in lengths
    assert any(min(row) < SEQ_LEN for row in lengths)
    for sample in samples:
        comparison = compare(compiled.run(**sample.inputs), sample.outputs)
        assert comparison.ok, comparison


def test_attention_of_long_sequences_is_one_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.graph.attention._LONG", SEQ_LEN)
    write_model(tmp_path / "model", "bert", "encoder")
    imported = import_tiny(tmp_path / "model", "encoder", BATCH, SEQ_LEN, tmp_path / "imports")
    mod = cache.load_module(tmp_path / "imports", imported)
    names = [one.name for one in extract(mod, tvm.target.Target(local_target()))]
    assert [name for name in names if name.startswith(("attention", "softmax", "keys_t"))] == ["attention"]
    runner = compile_plainly(tmp_path / "imports", imported, BATCH, SEQ_LEN, tmp_path / "compiled")
    for sample in cache.load_samples(tmp_path / "imports", imported):
        assert compare(runner.run(**sample.inputs), sample.outputs).ok


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_the_graph_for_an_apple_gpu_has_one_kernel_for_attention_and_computes_the_same(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run here, by the plain kernels of this CPU: what the GPU's own compute is another test's."""
    monkeypatch.setattr("tuner.graph.norms._ROWS", ROWS)
    write_model(tmp_path / "model", kind, "encoder")
    imported = import_tiny(tmp_path / "model", "encoder", BATCH, SEQ_LEN, tmp_path / "imports", "metal")
    mod = cache.load_module(tmp_path / "imports", imported)
    found = {one.name: one.weight for one in extract(mod, tvm.target.Target("apple/m1-gpu"))}
    assert found["attention"] == 2
    assert not {"softmax", "keys_t"} & found.keys()
    assert found["norm_product"] == found["norm_product_gelu"] == 2
    assert found["layer_norm"] == 1  # the last one, which is the model's output
    runner = compile_plainly(tmp_path / "imports", imported, BATCH, SEQ_LEN, tmp_path / "compiled")
    for sample in cache.load_samples(tmp_path / "imports", imported):
        assert compare(runner.run(**sample.inputs), sample.outputs).ok


def test_an_inference_of_bert_base_is_at_most_80_launches_on_an_apple_gpu(tmp_path: Path) -> None:
    """Counted in a narrow model of as many layers."""
    write_model(tmp_path / "model", CONFIGS["bert"] | {"num_hidden_layers": 12})
    imported = import_tiny(tmp_path / "model", "encoder", 2, 64, tmp_path / "imports", "metal")
    mod = cache.load_module(tmp_path / "imports", imported)
    assert sum(one.weight for one in extract(mod, tvm.target.Target("apple/m1-gpu"))) <= 80


def test_ids_beyond_the_vocabulary_are_refused_and_would_harm_nobody(case: Case, compiled: Runner) -> None:
    """The kernels clip them, whoever calls the library without the loader."""
    inputs = compiled.example()
    names = [spec["name"] for spec in compiled.inputs]
    last = {**inputs, "input_ids": np.full_like(inputs["input_ids"], CONFIGS[case.kind]["vocab_size"] - 1)}
    wild = {**inputs, "input_ids": np.full_like(inputs["input_ids"], 2**31 - 1)}
    below = {**inputs, "input_ids": np.full_like(inputs["input_ids"], -(2**31))}
    first = {**inputs, "input_ids": np.zeros_like(inputs["input_ids"])}
    for beyond, clipped in ((wild, last), (below, first)):
        with pytest.raises(ArtifactError, match="this model knows 0 to"):
            compiled.run(**beyond)
        got, want = (compiled._run_once([given[name] for name in names]) for given in (beyond, clipped))
        assert all(np.array_equal(one, other) for one, other in zip(got, want, strict=True))


IDS = """
import sys
from pathlib import Path
import tvm
from tests.support.tiny_imports import import_tiny, local_target
from tuner.importers import cache
from tuner.kernels.workload import extract

folder, root, batch, seq_len = sys.argv[1:]
imported = import_tiny(Path(folder), "encoder", int(batch), int(seq_len), Path(root))
for workload in extract(cache.load_module(Path(root), imported), tvm.target.Target(local_target())):
    print(workload.id)
"""


def test_workload_ids_do_not_depend_on_the_process_or_on_what_it_did_before(
    made: Callable[..., Case], tmp_path: Path
) -> None:
    """Here, where another model was imported before, and in a process that has done nothing yet."""
    _, wanted = made("bert", "encoder"), made("electra", "encoder")
    asked = python_code(IDS, str(wanted.folder), str(tmp_path / "imports"), str(BATCH), str(SEQ_LEN))
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = [one.id for one in wanted.workloads]
    assert len(here) > 8
    assert set(ids_of(wanted.mod).values()) == set(here), "a kernel goes by one id, whoever asks"
    assert here == done.stdout.split()


def test_a_module_is_read_whichever_release_wrote_it() -> None:
    one = te.placeholder((4, 4))
    func = te.create_prim_func([one, te.compute((4, 4), lambda i, j: one[j, i] + one[i, j])])
    text = str(tvm.ir.save_json(func))
    older = text.replace(f'"{tvm.__version__}"', '"0.26.0"').replace('"s_tir.SBlock', '"tirx.SBlock')
    assert '"tirx.SBlock"' in older
    for wrote in (text, older):
        assert tvm_ffi.structural_equal(from_json(wrote), func)


def test_models_of_one_shape_share_their_workloads(made: Callable[..., Case], tmp_path: Path) -> None:
    """A fine-tuned model starts from the records of the one it comes from."""
    folder = write_model(tmp_path / "model", "bert", seed=2)
    imported = import_tiny(folder, "encoder", BATCH, SEQ_LEN, tmp_path / "imports")
    mod = cache.load_module(tmp_path / "imports", imported)
    found = {one.id for one in extract(mod, tvm.target.Target(local_target()))}
    assert found == {one.id for one in made("bert", "encoder").workloads}


def test_parameters_are_taken_where_tvm_left_them() -> None:
    tensor = tvm.runtime.tensor(np.arange(6, dtype="float32").reshape(2, 3))
    (lent,) = in_place([tensor])
    assert lent.ctypes.data == tensor.data_ptr()
    del tensor
    assert lent.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
