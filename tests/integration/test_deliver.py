"""The pure bits of importing and publishing that need TVM to be loaded."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.rows import make_record, make_workload
from tests.support.tiny_imports import import_tiny, local_target
from tests.support.tiny_models import write_model
from tuner.compiler.deliver import TUNED, UNTUNED, coverage, staging, verify_job
from tuner.compiler.module import base_manifest, compile_into, write_manifest
from tuner.config import Settings
from tuner.db.models import Job, JobWorkload, Workload
from tuner.errors import VerificationFailed
from tuner.importers import cache
from tuner.importers.cache import import_key
from tuner.importers.source import resolve_source
from tuner.search.finals import Final, Finalist

SEQ_LEN = 16


def row(number: int, flops: float, weight: int) -> tuple[JobWorkload, Workload]:
    workload = make_workload(number, flops=flops)
    return JobWorkload(job_id="job-1", workload_id=workload.id, weight=weight), workload


def decided(number: int, found: bool) -> dict[str, Final]:
    workload = make_workload(number)
    record = make_record("c", 1e-3, workload=number) if found else None
    return {workload.id: Final(workload.id, Finalist(record, [1e-3]), None)}


def test_coverage_weighs_by_flops_and_launches() -> None:
    rows = [row(1, flops=100.0, weight=3), row(2, flops=50.0, weight=2)]
    assert coverage(rows, {}) == 0.0
    assert coverage(rows, decided(1, found=True)) == 0.75
    assert coverage(rows, decided(1, found=True) | decided(2, found=True)) == 1.0


def test_plain_schedules_that_won_do_not_count_as_covered() -> None:
    rows = [row(1, flops=100.0, weight=1), row(2, flops=100.0, weight=1)]
    assert coverage(rows, decided(1, found=False) | decided(2, found=True)) == 0.5
    assert coverage([row(1, flops=0.0, weight=1)], decided(1, found=True)) == 0.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny", "distilbert")


def test_import_is_known_by_its_source_shape_and_files(model: Path) -> None:
    source = resolve_source(str(model))
    key = import_key(source, 1, SEQ_LEN)
    assert key == import_key(resolve_source(str(model)), 1, SEQ_LEN)
    other = [import_key(source, 2, SEQ_LEN), import_key(source, 1, SEQ_LEN + 1)]
    other.append(import_key(dataclasses.replace(source, head="sequence-classification"), 1, SEQ_LEN))
    weights = model / "model.safetensors"
    before = weights.stat()
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    other.append(import_key(source, 1, SEQ_LEN))
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len({key, *other}) == 5
    assert import_key(source, 1, SEQ_LEN) == key


def test_second_import_comes_from_the_cache_and_a_half_made_one_is_made_again(model: Path, tmp_path: Path) -> None:
    first = import_tiny(model, "encoder", 1, SEQ_LEN, tmp_path)
    module = tmp_path / first.key / "module.json"
    made = module.stat().st_mtime_ns
    assert import_tiny(model, "encoder", 1, SEQ_LEN, tmp_path) == first
    assert module.stat().st_mtime_ns == made
    (tmp_path / first.key / "import.json").unlink()  # killed before the end
    module.write_text("half a mod")
    assert import_tiny(model, "encoder", 1, SEQ_LEN, tmp_path) == first
    assert cache.load_module(tmp_path, first)["main"] is not None


def test_wrong_weights_fail_the_verification_with_both_errors(model: Path, settings: Settings) -> None:
    imported = import_tiny(model, "encoder", 1, SEQ_LEN, settings.imports_dir)
    prepared = cache.load_prepared(settings.imports_dir, imported)
    job = Job(id="job-1", model_id="mdl-1", target="local", seq_len=SEQ_LEN, budget_trials=1)
    spoilt = dataclasses.replace(prepared, params=[np.asarray(p) * np.float32(1.01) for p in prepared.params])
    target = local_target()
    for name, one in ((UNTUNED, prepared), (TUNED, spoilt)):
        folder = staging(settings, job.id) / name
        params = compile_into(folder, one, target, {})
        write_manifest(folder, base_manifest(imported, 1, SEQ_LEN, target, params))
    with pytest.raises(VerificationFailed, match=r"The tuned module of job-1 differs.*absolute error \d.*relative \d"):
        verify_job(settings, job, imported, device=None)
