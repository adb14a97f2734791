"""The pure bits of importing and publishing that need TVM to be loaded."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rpc.drafts import draft
from tests.support.rows import make_record, make_workload
from tests.support.tiny_imports import import_tiny, local_target
from tests.support.tiny_models import write_model
from tuner.compiler.module import base_manifest, compile_into, write_manifest
from tuner.config import Settings
from tuner.db.models import Job, Workload
from tuner.errors import VerificationFailed
from tuner.importers import cache, shelf
from tuner.importers.cache import Shape, import_key
from tuner.importers.sentences import Gate
from tuner.importers.snapshot import Fetched, bring
from tuner.importers.source import resolve_source
from tuner.jobs.contest import TUNED, UNTUNED
from tuner.jobs.deliver import staging, verify_job
from tuner.jobs.making import Module, verification
from tuner.jobs.provenance import coverage, keep_records
from tuner.search.guess import MODEL, Guess

SEQ_LEN = 16


def kernel(number: int, flops: float, launches: int) -> tuple[int, Workload]:
    return launches, make_workload(number, flops=flops)


def test_coverage_weighs_by_flops_and_launches() -> None:
    kernels = [kernel(1, flops=100.0, launches=3), kernel(2, flops=50.0, launches=2)]
    one, other = (workload.id for _, workload in kernels)
    assert coverage(kernels, {}) == 0.0
    assert coverage(kernels, {one}) == 0.75
    assert coverage(kernels, {one, other}) == 1.0
    assert coverage([kernel(1, flops=0.0, launches=1)], {one}) == 0.0


def test_ready_made_schedules_that_won_count_as_covered_and_default_ones_do_not(tmp_path: Path) -> None:
    kernels = [kernel(number, flops=flops, launches=1) for number, flops in ((1, 100.0), (2, 200.0), (3, 100.0))]
    found, made, _ = (workload.id for _, workload in kernels)
    said = keep_records(tmp_path, kernels, {found: make_record("c", 1e-3)}, {made: "dlight"})
    assert (said["records"], said["kernels"], said["coverage"], said["guessed"]) == (1, 3, 0.75, 0.0)
    assert said["winners"] == ["c", f"{made}:dlight"]
    assert (tmp_path / "records.jsonl").read_text().count("\n") == 1


def test_a_manifest_says_of_each_kernel_how_it_was_chosen(tmp_path: Path) -> None:
    kernels = [kernel(number, flops=flops, launches=2) for number, flops in ((1, 100.0), (2, 200.0), (3, 100.0))]
    found, guessed, _ = (workload.id for _, workload in kernels)
    guesses = {guessed: Guess("a trace", MODEL)}
    said = keep_records(tmp_path, kernels, {found: make_record("c", 1e-3)}, {}, (), guesses)
    assert [one["by"] for one in said["schedules"]] == ["measured: record c", f"guessed: {MODEL}", "plain"]
    assert [one["workload"] for one in said["schedules"]] == [workload.id for _, workload in kernels]
    assert (said["coverage"], said["guessed"]) == (0.25, 0.5)
    other = keep_records(tmp_path, kernels, {found: make_record("c", 1e-3)}, {}, (), {guessed: Guess("other", MODEL)})
    assert other["winners"] != said["winners"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny", "distilbert")


def test_import_is_known_by_its_source_shape_and_content(model: Path, tmp_path: Path) -> None:
    def fetched() -> Fetched:
        source = resolve_source(str(model))
        return Fetched(source, tmp_path / bring(source, tmp_path).snapshot)

    first = fetched()
    key = import_key(first, Shape(1, SEQ_LEN))
    other = [import_key(first, Shape(2, SEQ_LEN)), import_key(first, Shape(1, SEQ_LEN + 1))]
    for changes in ({"head": "sequence-classification"}, {"revision": "0123456789abcdef"}):
        other.append(import_key(Fetched(dataclasses.replace(first.source, **changes), first.folder), Shape(1, SEQ_LEN)))
    weights = model / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    other.append(import_key(fetched(), Shape(1, SEQ_LEN)))
    weights.write_bytes(content)
    other.append(import_key(first, Shape(1, SEQ_LEN, kind="metal")))
    assert len({key, *other}) == 7
    assert import_key(fetched(), Shape(1, SEQ_LEN)) == key


def test_what_a_killed_import_left_goes_with_the_next(model: Path, tmp_path: Path) -> None:
    with draft(tmp_path) as folder:
        (folder / "key").mkdir()
        left = shutil.copytree(folder, tmp_path / ".draft-of-a-killed-one")
    first = import_tiny(model, "encoder", 1, SEQ_LEN, tmp_path)
    assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == [first.key]


def written(root: Path) -> dict[str, int]:
    """All files below a folder and when they were written; of an import's description that is when it was last used."""
    files = (file for file in root.rglob("*") if file.is_file() and file.name != shelf.ABOUT)
    return {str(file.relative_to(root)): file.stat().st_mtime_ns for file in files}


def test_second_import_comes_from_the_cache(model: Path, tmp_path: Path) -> None:
    first = import_tiny(model, "encoder", 1, SEQ_LEN, tmp_path)
    before = written(tmp_path)
    assert import_tiny(model, "encoder", 1, SEQ_LEN, tmp_path) == first
    assert written(tmp_path) == before
    assert cache.load_module(tmp_path, first)["main"] is not None


def test_import_that_fails_on_the_way_leaves_nothing_behind(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(cache, "save_file", fail)
    with pytest.raises(OSError, match="no space"):
        import_tiny(model, "encoder", 1, SEQ_LEN, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_import_that_another_worker_finished_meanwhile_is_taken_as_it_is(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file = cache.save_file
    seen = []

    def overtaken(*arguments: Any) -> None:
        monkeypatch.setattr(cache, "save_file", save_file)
        seen.append(import_tiny(model, "encoder", 1, SEQ_LEN, tmp_path))
        seen.append({path: at for path, at in written(tmp_path).items() if path.startswith(seen[0].key)})
        save_file(*arguments)

    monkeypatch.setattr(cache, "save_file", overtaken)
    slower = import_tiny(model, "encoder", 1, SEQ_LEN, tmp_path)
    assert [slower, written(tmp_path)] == seen
    assert [path.name for path in tmp_path.iterdir()] == [slower.key]


def test_wrong_weights_fail_the_verification_with_both_errors(model: Path, settings: Settings) -> None:
    imported = import_tiny(model, "encoder", 1, SEQ_LEN, settings.imports_dir)
    prepared = cache.load_prepared(settings.imports_dir, imported)
    job = Job(id="job-1", model_id="mdl-1", target="local", seq_len=SEQ_LEN, budget_trials=1)
    spoilt = dataclasses.replace(prepared, params=[np.asarray(p) * np.float32(1.01) for p in prepared.params])
    target = local_target()
    for name, one in ((UNTUNED, prepared), (TUNED, spoilt)):
        folder = staging(settings, job.id) / name
        params = compile_into(folder, one, target, {})
        write_manifest(folder, base_manifest(imported, 1, SEQ_LEN, target, params) | {"precision": "fp32"})
    with pytest.raises(VerificationFailed, match=r"The tuned module of job-1 differs.*absolute error \d.*relative \d"):
        verify_job(settings, job, imported, device=None, gate=Gate())


@pytest.mark.parametrize(("is_compared", "runs"), [(False, 3), (True, 1)])
def test_a_module_that_is_only_compared_with_is_run_on_one_sample(
    model: Path, settings: Settings, is_compared: bool, runs: int
) -> None:
    imported = import_tiny(model, "encoder", 1, SEQ_LEN, settings.imports_dir)
    samples = cache.load_samples(settings.imports_dir, imported)
    asked: list[dict[str, np.ndarray]] = []

    def run(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        asked.append(inputs)
        return next(s.outputs for s in samples if all(np.array_equal(s.inputs[n], v) for n, v in inputs.items()))

    module = Module(settings.imports_dir, imported, staging(settings, "job-1"), False, is_compared=is_compared)
    assert verification(run, module, "module")["max_abs_error"] == 0.0
    assert len(asked) == runs
    np.testing.assert_array_equal(asked[-1]["input_ids"], samples[-1].inputs["input_ids"])
