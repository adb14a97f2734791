"""On an emulated ARM machine: a whole job for it from this host; a BERT and kernels that compute what they should."""

from __future__ import annotations

import functools
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tvm
from sqlalchemy import Engine
from sqlmodel import select

from tests.support import arm64
from tests.support.dot_products import Load, Run, check, library, runner
from tests.support.dot_products import product as dot_product
from tests.support.fake_engine import FakeCluster, FakeEngine
from tests.support.processes import free_port, patience
from tests.support.rpc_device import HOST, tracker_process
from tests.support.submitting import submit_job
from tests.support.tiny_imports import import_tiny
from tests.support.tiny_models import CONFIGS, write_model
from tests.support.tuning import product
from tuner.artifact.loader import ArtifactError, load
from tuner.compiler.module import base_manifest, compile_into, write_manifest
from tuner.config import Settings
from tuner.db import device_checks, jobs
from tuner.db.engine import read, write
from tuner.db.models import Device, Job, Record
from tuner.importers import cache, rounded
from tuner.importers.cache import Imported
from tuner.importers.comparison import compare
from tuner.jobs import stages
from tuner.jobs.checking import check as check_on_device
from tuner.jobs.coordinator import Coordinator
from tuner.jobs.device_watch import DeviceWatch, ask_tracker
from tuner.kernels import dot_blocks, row_products
from tuner.kernels.blas import BlasCall
from tuner.kernels.context import make_target
from tuner.kernels.dot_blocks import MatrixTile
from tuner.kernels.dots import Dot, dot_of, forms_of
from tuner.kernels.link import candidate_linker_for
from tuner.kernels.precision import FULL, LOWER, lowered, precision_of
from tuner.kernels.workload import ExtractedWorkload, extract
from tuner.measuring import peaks
from tuner.measuring.builder import BuildPool
from tuner.measuring.measure import DeviceAddress
from tuner.measuring.outputs import OutputCheck
from tuner.measuring.remote import RemoteModule, session
from tuner.measuring.timing import load_library
from tuner.schemas import BudgetIn, JobIn
from tuner.search.costmodel import make_cost_model
from tuner.search.session import Proposal, SearchSession
from tuner.state import ROUND, STAGES, TERMINAL

KEY = "linux-arm64"
TARGET = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "apple-m1", "num-cores": 2}
OPERATOR, TRIALS = "op:swish_gemm:16,32,64", 8
NEWER = {**TARGET, "mcpu": "apple-m2"}
WIDE = CONFIGS["bert"] | {"hidden_size": 64, "intermediate_size": 128}
ERROR = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.05, "int8": 0.3}  # of two layers, relative
DOTS = [dot for precision in LOWER for dot in forms_of(precision, make_target(NEWER))]
EM_AARCH64 = 183  # e_machine of an ELF header

at_each_precision = pytest.mark.parametrize("precision", [FULL, *LOWER])
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module", autouse=True)
def machine() -> arm64.Machine:
    try:
        return arm64.machine()
    except arm64.NotToBeHad as reason:
        pytest.skip(f"no emulated ARM machine: {reason}")


@pytest.fixture(autouse=True)
def short_look_at_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of the work takes as long on the emulator as all of it on a board."""
    monkeypatch.setattr(peaks, "_PASSES", 20)
    monkeypatch.setattr(peaks, "_MIN_STREAM_BYTES", 2**20)
    monkeypatch.setattr(peaks, "_CACHES", 0)


@dataclass
class Board:
    """The machine beside a tracker, off until it is needed."""

    port: int
    stack: ExitStack
    is_on: bool = False

    def start(self) -> DeviceAddress:
        """Switch it on, if nobody has; once it is registered, it is at the address."""
        if not self.is_on:
            self.stack.enter_context(arm64.device(self.port, KEY))
        self.is_on = True
        return DeviceAddress(HOST, self.port, KEY, lease_timeout_sec=patience(60), session_timeout_sec=600.0)


@pytest.fixture(scope="module")
def board(machine: arm64.Machine) -> Iterator[Board]:
    number = free_port()
    with tracker_process(number), ExitStack() as stack:
        yield Board(number, stack)


@pytest.fixture
def settings(settings: Settings, board: Board) -> Settings:
    changes = {"tracker_host": HOST, "tracker_port": board.port, "round_batch": 4, "build_workers": 1}
    patient = {"lease_timeout_sec": patience(30), "session_timeout_sec": 600.0, "build_timeout_sec": patience(60)}
    return settings.model_copy(update={**changes, **patient, "min_free_bytes": 0})


def coordinator(settings: Settings, engine: Engine) -> Coordinator:
    """One that runs the service's own stages, in this process."""
    names = [*STAGES.values(), ROUND]
    cluster = FakeCluster({name: getattr(stages, name) for name in names})
    ask = functools.partial(ask_tracker, settings.tracker_host, settings.tracker_port)
    watch = DeviceWatch(engine, ask, settings.device_key, f"{settings.tracker_host}:{settings.tracker_port}")
    return Coordinator(settings, engine, FakeEngine(cluster, settings), watch, free_bytes=lambda: 1)


def test_an_operator_is_tuned_compiled_and_verified_on_an_arm_machine(
    settings: Settings, engine: Engine, board: Board
) -> None:
    wish = JobIn(model=OPERATOR, target=json.dumps(TARGET), budget=BudgetIn(trials=TRIALS), cold=True)
    job_id = submit_job(engine, settings, wish).id

    def job() -> Job:
        with read(engine) as session:
            return jobs.get(session, job_id)

    def run_until(happened: Callable[[Job], bool]) -> Job:
        while not happened(job()):
            leader.tick()
            time.sleep(0.05)
        return job()

    leader = coordinator(settings, engine)
    waits = run_until(lambda job: "waiting for a device" in job.message)
    assert f"tunesmith agent --tracker {HOST}:{board.port} --key {KEY}" in waits.message
    board.start()
    done = run_until(lambda job: job.state in TERMINAL)
    assert done.state == "succeeded", done.error
    with read(engine) as session:
        facts = session.get_one(Device, KEY).facts
        records = session.exec(select(Record)).all()
    assert facts["arch"] == "aarch64"
    assert {(record.device, record.target_family) for record in records} == {(KEY, done.target_family)}
    assert [record.error for record in records if record.error_class] == []
    assert len(records) == done.trials == TRIALS
    check_artifact(next(settings.artifacts_dir.glob("*.tar")), done)
    assert done.artifact_id is not None
    with write(engine) as session:
        device_checks.ask(session, done.artifact_id, KEY)
    check_on_device(settings, engine, done.artifact_id, KEY)
    with read(engine) as session:
        row = device_checks.get(session, done.artifact_id, KEY)
    assert row is not None
    assert (row.state, row.found.get("error")) == ("loaded", None)
    assert row.found["verification"]["max_rel_error"] < 1e-3
    assert row.found["median_ms"] > 0


def check_artifact(tar_path: Path, job: Job) -> None:
    with tarfile.open(tar_path) as tar:
        manifest, library = (read_member(tar, name) for name in ("manifest.json", "lib.so"))
    described: dict[str, Any] = json.loads(manifest)
    assert (library[:4], int.from_bytes(library[18:20], "little")) == (b"\x7fELF", EM_AARCH64)
    assert described["target"] == TARGET
    assert described["verification"]["max_rel_error"] < 1e-3
    assert (described["load_check"], described["device"]["arch"]) == ("device", "aarch64")
    assert set(described["baselines"]) == {"untuned"}
    assert described["latency"]["median_ms"] == job.latency_ms
    assert described["records"] > 0
    with pytest.raises(ArtifactError, match="compiled for aarch64"):
        load(tar_path)


def read_member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Imported]:
    """A tiny BERT, wide enough for each instruction."""
    root = tmp_path_factory.mktemp("imports")
    return root, import_tiny(write_model(root / "model", WIDE), "encoder", 1, 16, root)


@at_each_precision
def test_a_bert_of_the_first_schedules_of_each_kernel_computes_there_what_pytorch_does(
    precision: str, board: Board, imports: tuple[Path, Imported], tmp_path: Path
) -> None:
    root, imported = imports
    prepared = cache.load_prepared(root, imported)
    prepared = prepared.of_kernels(lowered(prepared.mod, precision, make_target(NEWER)))
    kernels = extract(prepared.mod, make_target(NEWER))
    winners = {one.tir: (first_schedules(one, 1)[0].trace, [1e-6]) for one in kernels if one.tunable}
    compiled = compile_into(tmp_path / "out", prepared, NEWER, winners)
    assert compiled.left_out == {}
    assert len(winners) > 8
    write_manifest(tmp_path / "out", base_manifest(imported, 1, 16, NEWER, compiled))
    with session(board.start()) as remote:
        module = RemoteModule(remote, tmp_path / "out")
        for sample in cache.load_samples(root, imported):
            assert compare(module.run(**sample.inputs), sample.outputs, rtol=ERROR[precision]).ok


@at_each_precision
def test_every_kernel_of_a_bert_computes_there_what_its_plain_schedule_does(
    precision: str, board: Board, imports: tuple[Path, Imported], tmp_path: Path
) -> None:
    """By each instruction that it may be written with. Those that no precision changes are tried once."""
    whole = cache.load_module(*imports)
    kernels = [
        one
        for one in extract(lowered(whole, precision, make_target(NEWER)), make_target(NEWER))
        if one.tunable and precision in (FULL, precision_of(one.mod["main"]))
    ]
    address, builders = board.start(), BuildPool(1, patience(60))
    forms = set()
    try:
        for kernel in kernels:
            check = OutputCheck(kernel.mod, json.dumps(NEWER), address, builders, tmp_path / "reference")
            for proposal in first_schedules(kernel, 2):
                assert check.problem_of(proposal, tmp_path) is None, (kernel.name, proposal.trace)
                forms.add(type(proposal.choice))
    finally:
        builders.close()
    assert len(kernels) == (5 if precision != FULL else 11)
    assert (MatrixTile in forms) is (precision in ("bf16", "int8"))


def test_products_by_the_machines_openblas_compute_what_the_cores_do(board: Board, tmp_path: Path) -> None:
    target = {**TARGET, "libs": ["openblas"]}
    address, builders = replace(board.start(), blas="openblas"), BuildPool(1, patience(60))
    try:
        mod = product(24, 64, 48)
        check = OutputCheck(mod, json.dumps(target), address, builders, tmp_path / "reference")
        search = SearchSession(
            str(tvm.ir.save_json(mod)), make_target(target), make_cost_model(1), batch=1, threads=1, seed=1
        )
        (first,) = search.propose(1)
        assert first.choice == BlasCall()
        assert check.problem_of(first, tmp_path) is None
    finally:
        builders.close()


@pytest.fixture
def on_arm(board: Board, tmp_path: Path) -> Iterator[Load]:
    with session(board.start()) as remote:

        def load(functions: Mapping[str, Any]) -> Run:
            path = tmp_path / "kernels.so"
            made = library(functions, make_target(NEWER))
            made.export_library(str(path), fcompile=candidate_linker_for(NEWER))
            return runner(load_library(remote, str(path)), remote.cpu(0))

        yield load


@pytest.mark.parametrize(("rows", "symbolic"), [(9, False), (7, True)])
@pytest.mark.parametrize("dot", DOTS, ids=lambda dot: dot.name)
def test_products_at_a_lower_precision_round_and_no_more(dot: Dot, rows: int, symbolic: bool, on_arm: Load) -> None:
    check(dot, on_arm, rows, symbolic, every=40)


def test_pytorch_foretells_what_sums_of_halves_lose(on_arm: Load) -> None:
    mod, dot = dot_product(64, 768, 96), dot_of("fp16", make_target(NEWER))
    found = row_products.find(mod)
    assert dot is not None
    assert found is not None
    numbers = np.random.default_rng(1)
    left, constant = numbers.normal(0.3, 1.0, (64, 768)), numbers.normal(0.0, 0.05, (768, 96))
    given = [array.astype("float32") for array in (left, constant, np.full(96, 100.0), np.zeros((64, 96)))]
    kernel = dot_blocks.write(mod, found, dot_blocks.tiles(found, dot)[0], dot, packed=False)
    exact = given[0].astype("float64") @ given[1]
    lost = np.std(on_arm({"main": kernel})("main", given) - 100.0 - exact)
    foretold = np.std(rounded.product(torch.from_numpy(given[0]), torch.from_numpy(given[1].T), dot).numpy() - exact)
    assert foretold == pytest.approx(lost, rel=0.25)


def first_schedules(kernel: ExtractedWorkload, count: int) -> list[Proposal]:
    """What a search for the machine would try first: tiles, choices, schedules of rows, or sketches."""
    search = SearchSession(kernel.tir, make_target(NEWER), make_cost_model(1), batch=4, threads=1, seed=1)
    return list(search.propose(count))
