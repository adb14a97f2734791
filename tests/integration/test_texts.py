"""One module for texts of any lengths: what it computes, however they are given, and how its kernels are searched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache as cache_results
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tvm import relax

from tests.support.processes import free_port
from tests.support.rpc_device import agent_process, tracker_process
from tests.support.tiny_imports import local_target
from tests.support.tiny_made import TinyImport, tiny_import
from tests.support.tuning import Bench
from tuner.artifact.loader import ArtifactError, Runner, load
from tuner.compiler.module import base_manifest, compile_into, write_manifest
from tuner.db import records
from tuner.db.engine import read
from tuner.importers import cache
from tuner.importers.cache import Imported, Shape
from tuner.importers.comparison import compare
from tuner.importers.huggingface import LoadedModel, load_torch
from tuner.jobs import from_records
from tuner.jobs.making import alone
from tuner.kernels import written
from tuner.kernels.context import make_target
from tuner.kernels.rowwise import Variant
from tuner.kernels.workload import ExtractedWorkload, extract
from tuner.lengths import default_mix
from tuner.measuring.remote import RemoteModule, session
from tuner.search.finals import Finals
from tuner.search.session import SearchSession

CASES = [
    ("bert", "encoder"),
    ("distilbert", "sequence-classification"),
    ("roberta", "sequence-classification"),
    ("electra", "encoder"),
    ("albert", "encoder"),
]
LENGTHS = [1, 5, 33, 17, 50, 2]


@dataclass
class Case:
    """A model imported for texts, and its kernels."""

    made: TinyImport
    loaded: LoadedModel
    kernels: list[ExtractedWorkload]

    @property
    def root(self) -> Path:
        return self.made.root

    @property
    def imported(self) -> Imported:
        return self.made.imported

    def winners(self) -> dict[str, tuple[str, list[float]]]:
        """A written kernel for each workload that there is one for."""
        target, found = make_target(local_target()), {}
        for one in self.kernels:
            if (writer := written.writer_for(one.mod, target)) is not None:
                quickest_to_build = min(writer.choices, key=lambda choice: getattr(choice, "rows", 0))
                found[one.tir] = (written.to_json(quickest_to_build), [1e-6])
        return found

    def alone(self, ids: Any) -> dict[str, np.ndarray]:
        """What PyTorch makes of one text."""
        tokens = torch.tensor([list(ids)], dtype=torch.int32)
        inputs = {"attention_mask": torch.ones_like(tokens)}
        given = [
            tokens if n == "input_ids" else inputs.get(n, torch.zeros_like(tokens)) for n in self.loaded.input_names
        ]
        with torch.inference_mode():
            outputs = self.loaded.module(*given)
        return {name: value[0].numpy() for name, value in zip(self.loaded.output_names, outputs, strict=True)}


@pytest.fixture(scope="module")
def made() -> Callable[[str, str], Case]:
    @cache_results
    def make(kind: str, head: str) -> Case:
        one = tiny_import(Shape(texts=True), kind, head)
        kernels = extract(cache.load_module(one.root, one.imported), make_target(local_target()))
        return Case(one, load_torch(one.fetched), kernels)

    return make


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def case(request: pytest.FixtureRequest, made: Callable[[str, str], Case]) -> Case:
    return made(*request.param)


@pytest.fixture(scope="module")
def tuned(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """The model with every kernel written that can be."""
    folder, target = tmp_path_factory.mktemp("tuned"), local_target()
    compiled = compile_into(folder, cache.load_prepared(case.root, case.imported), target, case.winners())
    assert not compiled.left_out
    write_manifest(folder, base_manifest(case.imported, 1, 1, target, compiled))
    return load(folder)


@pytest.fixture(scope="module")
def texts(case: Case) -> list[list[int]]:
    rng = np.random.default_rng(3)
    return [rng.integers(5, int(case.loaded.config["vocab_size"]), length).tolist() for length in LENGTHS]


def same(case: Case, got: dict[str, Any], texts: list[list[int]]) -> None:
    for n, ids in enumerate(texts):
        assert compare({name: values[n] for name, values in got.items()}, case.alone(ids)).ok, (n, len(ids))


def test_each_text_of_a_batch_is_what_it_is_alone(case: Case, tuned: Runner, texts: list[list[int]]) -> None:
    same(case, tuned.run(input_ids=texts), texts)
    for ids in texts:
        same(case, tuned.run(input_ids=[ids]), [ids])


def test_ids_beyond_the_vocabulary_are_refused(case: Case, tuned: Runner) -> None:
    beyond = int(case.loaded.config["vocab_size"])
    for ids in ([[5, 6], [beyond, 5]], np.array([[5, -1]])):
        with pytest.raises(ArtifactError, match=f"input_ids holds (-1|{beyond}); this model knows 0 to {beyond - 1}"):
            tuned.run(input_ids=ids)
    with pytest.raises(ArtifactError, match="whole numbers"):
        tuned.run(input_ids=[[5.0, 6.0]])


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_is_skipped(case: Case, tuned: Runner, texts: list[list[int]], side: str) -> None:
    longest = max(map(len, texts)) + 3
    ids, mask = np.full((len(texts), longest), 7), np.zeros((len(texts), longest), np.int64)
    for row, text in enumerate(texts):
        place = slice(0, len(text)) if side == "right" else slice(longest - len(text), longest)
        ids[row, place], mask[row, place] = text, 1
    got = tuned.run(input_ids=ids, attention_mask=mask)
    for name, value in got.items():
        assert value.shape[0] == len(texts)
        if name == "last_hidden_state":
            assert value.shape[1] == longest
            assert not value[mask == 0].any()
            got[name] = [rows[kept == 1] for rows, kept in zip(value, mask, strict=True)]
    same(case, got, texts)


def test_the_samples_of_an_import_hold_in_company_and_alone(case: Case, tuned: Runner) -> None:
    samples = cache.load_samples(case.root, case.imported)
    assert len({int(n) for one in samples for n in one.inputs["attention_mask"].sum(axis=1)}) > 2
    for sample in [*samples, *alone(samples)]:
        assert compare(tuned.run(**sample.inputs), sample.outputs).ok


def test_a_product_over_tokens_is_one_kernel_and_attention_another(case: Case) -> None:
    names = [one.name for one in case.kernels]
    layers = int(case.loaded.config.get("num_hidden_layers") or case.loaded.config["n_layers"])
    assert [one.weight for one in case.kernels if one.name == "attention"] == [layers]
    mod = cache.load_module(case.root, case.imported)
    calls = 0

    def visit(expr: Any) -> None:
        nonlocal calls
        calls += isinstance(expr, relax.Call) and str(getattr(expr.op, "name", "")) == "relax.call_tir"

    relax.analysis.post_order_visit(mod["main"], visit)
    assert calls <= 7 * layers + 9, names


@pytest.fixture(scope="module")
def bert(made: Callable[[str, str], Case]) -> Case:
    return made("bert", "encoder")


@pytest.fixture(scope="module")
def plain(bert: Case) -> Path:
    """The folder of a module without records."""
    return bert.made.artifact()


@pytest.fixture(scope="module")
def runner(plain: Path) -> Runner:
    return load(plain)


def test_a_module_without_records_computes_the_same(bert: Case, runner: Runner) -> None:
    texts = [[5] * length for length in LENGTHS]
    same(bert, runner.run(input_ids=texts), texts)


def test_without_records_products_are_written_by_the_first_choice(bert: Case, tmp_path: Path) -> None:
    wanted = from_records.Wanted(bert.imported, 1, 1, local_target())
    kernels = [(one.weight, one.as_row()) for one in bert.kernels]
    manifest = from_records.compile_known(bert.root, wanted, kernels, {}, tmp_path / "module")
    assert (manifest["records"], manifest["coverage"]) == (0, 0)
    panels = [array for array in load_file(tmp_path / "module" / "params.safetensors").values() if array.ndim == 3]
    assert len(panels) >= 4 * int(bert.loaded.config["num_hidden_layers"])
    texts = [[5] * length for length in LENGTHS]
    same(bert, load(tmp_path / "module").run(input_ids=texts), texts)


def test_a_batch_beyond_one_run_is_several(bert: Case, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    many = [rng.integers(5, 90, int(n)).tolist() for n in rng.integers(1, 40, 60)]
    monkeypatch.setitem(runner.manifest["texts"], "most_tokens", 64)
    same(bert, runner.run(input_ids=many), many)


def test_calls_from_several_threads_are_each_right(bert: Case, runner: Runner) -> None:
    rng = np.random.default_rng(2)
    batches = [[rng.integers(5, 90, int(n)).tolist() for n in rng.integers(1, 30, 3)] for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda batch: runner.run(input_ids=batch), batches))
    for batch, got in zip(batches, results, strict=True):
        same(bert, got, batch)


def test_memory_does_not_grow_with_the_calls(runner: Runner) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    rng = np.random.default_rng(4)
    batches = [[[5] * int(n) for n in rng.integers(1, 64, size)] for size in (1, 3, 40, 400, 8)]

    def grown() -> int:
        before = resident()
        for batch in batches * 12:
            runner.run(input_ids=batch)
        return resident() - before

    # A call keeps a megabyte or so while it runs: were it kept, each time would bring 60 times that. Others' first use
    # of something, and what glibc has set aside for a thread, comes once.
    assert any(grown() < 8 * 2**20 for _ in range(5))


def test_what_is_no_text_is_refused(bert: Case, runner: Runner) -> None:
    with pytest.raises(ArtifactError, match=r"Text 0 has 65 tokens, the model takes 64\."):
        runner.run(input_ids=[[5] * 65])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    port = free_port()
    with tracker_process(port), agent_process(port):
        made = Bench(tmp_path_factory.mktemp("bench"), port)
        yield made
        made.close()


def test_a_module_on_a_device_elsewhere_computes_the_same(bert: Case, plain: Path, bench: Bench) -> None:
    sample = cache.load_samples(bert.root, bert.imported)[1]
    with session(bench.device) as remote:
        module = RemoteModule(remote, plain)
        assert compare(module.run(**sample.inputs), sample.outputs).ok
        assert min(module.time_ms(sample.inputs, 2)) > 0


@pytest.mark.parametrize("name", ["attention", "matmul_add"])
def test_a_kernel_begins_with_what_was_best_for_others_that_are_written_alike(bert: Case, name: str) -> None:
    kernel, target = next(one for one in bert.kernels if one.name == name), make_target(local_target())
    writer = written.writer_for(kernel.mod, target)
    assert writer is not None
    search = SearchSession(kernel.tir, target, None, batch=4, threads=1, seed=1, weights=default_mix(64).weights())
    assert search.is_written
    search.favour([written.to_json(Variant(3, 1)), "[[], []]", written.to_json(writer.choices[-1])])
    assert next(search.propose(1)).choice == writer.choices[-1]


def test_a_kernel_whose_records_show_nothing_better_is_not_searched_again(bert: Case) -> None:
    kernel, target = next(one for one in bert.kernels if one.name == "matmul_add"), make_target(local_target())
    writer = written.writer_for(kernel.mod, target)
    assert writer is not None
    known = [(str(n), written.to_json(choice), [1.0 + n]) for n, choice in enumerate(writer.choices[:32])]
    fewer, all_of_them = (
        SearchSession(kernel.tir, target, None, batch=4, threads=1, seed=1, weights=default_mix(64).weights())
        for _ in range(2)
    )
    fewer.learn([("other", "[[], []]", [0.5]), ("other", written.to_json(Variant(3, 1)), [0.5]), *known[:8]])
    all_of_them.learn(known)
    assert list(all_of_them.propose(4)) == []
    found = [proposal.choice for proposal in fewer.propose(4)]
    assert len(found) == 4
    assert not {*found} & {*writer.choices[:8]}, "they were measured"


@pytest.mark.parametrize("name", ["matmul_add_gelu", "attention", "layer_norm"])
def test_a_kernel_for_texts_is_searched_measured_and_checked(bert: Case, bench: Bench, name: str) -> None:
    kernel = next(one for one in bert.kernels if one.name == name)
    profile = list(default_mix(64).sample)
    job = bench.job(kernel.mod, lengths=profile)
    row = bench.round(job, batch=2)
    found = bench.records(row)
    assert row.measured == min(2, len(found)) > 0
    assert [record.error for record in found if record.error_class] == []
    assert all(written.is_choice(record.trace) for record in found)
    best = min(found, key=lambda record: record.mean_sec or 1.0)
    assert best.checked
    again = bench.records(bench.round(job, batch=2))
    assert not {record.candidate for record in again} & {record.candidate for record in found}
    weights = default_mix(64).weights()
    finals = Finals(
        bench.device, bench.tuner.builders, job.target_json, bench.settings.root / "finals", weights=weights
    )
    with read(bench.engine) as db:
        candidates = records.best(db, kernel.id, job.target_family, 2)
    final = finals.decide(kernel.id, kernel.tir, kernel.weight_bytes, candidates)
    assert final.winner is not None
    assert final.plain is not None
    assert not final.left_out
