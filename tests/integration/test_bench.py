"""A benchmark in its own process: contestants, progress, cancelling, errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from tests.support.model_files import in_place
from tests.support.processes import python_code
from tests.support.tiny_models import write_model
from tuner.bench import launch
from tuner.bench.launch import run_benchmark
from tuner.bench.running import run
from tuner.bench.spec import NO_SPACE, Result, Spec, Variant
from tuner.errors import ProcessLost, SequenceTooLong, StageFailed, StorageFull, TunerError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("model")))


def spec(model: str, *variants: Variant, seq_len: int = 16, rounds: int = 2, max_sec: float | None = None) -> Spec:
    fetched = in_place(model)
    return Spec(
        source=fetched.source,
        folder=fetched.folder,
        batch=1,
        seq_len=seq_len,
        threads=1,
        rounds=rounds,
        per_round=3,
        warmup_sec=0.01,
        max_sec=max_sec,
        variants=list(variants),
    )


EAGER = Variant(name="torch-eager", kind="torch-eager")
SDPA = Variant(name="torch-sdpa", kind="torch-sdpa")


def test_contestants_are_timed_and_rounds_reported(model: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = run_benchmark(spec(model, EAGER, SDPA), tmp_path, lambda done, total: seen.append((done, total)))
    assert [timing.variant for timing in result.timings] == ["torch-eager", "torch-sdpa"]
    for timing in result.timings:
        assert timing.n == 6
        assert 0 < timing.p10_ms <= timing.median_ms <= timing.p90_ms
    assert (result.threads, result.weights) == (1, "pretrained")
    assert result.machine
    assert seen[-1] == (2, 2)
    assert json.loads((tmp_path / "result.json").read_text())["error"] is None


def test_error_of_the_process_keeps_its_class(model: str, tmp_path: Path) -> None:
    with pytest.raises(SequenceTooLong, match="at most 64"):
        run_benchmark(spec(model, EAGER, seq_len=65), tmp_path)


@pytest.fixture
def run_here() -> Iterator[Callable[[Spec], Result]]:
    """What the process runs, in this one."""
    threads = torch.get_num_threads()
    yield run
    torch.set_num_threads(threads)


PEERS = {
    "torch": [Variant(name="torch-bf16", kind="torch-bf16", precision="bf16")],
    "onnxruntime": [
        Variant(name="ort", kind="onnxruntime"),
        Variant(name="ort-optimised", kind="onnxruntime-optimised"),
        Variant(name="ort-int8", kind="onnxruntime-int8", precision="int8"),
    ],
    "openvino": [
        Variant(name="ov", kind="openvino"),
        Variant(name="ov-default", kind="openvino-default", precision="bf16"),
        Variant(name="ov-int8", kind="openvino-int8", precision="int8"),
    ],
}


@pytest.mark.filterwarnings("ignore")  # the exporters' own
@pytest.mark.parametrize("package", PEERS)
def test_peers_at_each_precision_say_what_they_lose(
    package: str, model: str, run_here: Callable[[Spec], Result], tmp_path: Path
) -> None:
    pytest.importorskip(package, reason="the extra bench is not installed")
    peers = PEERS[package]
    race = spec(model, SDPA, *peers, rounds=1).model_copy(update={"judged": 12})
    result = run_benchmark(race, tmp_path) if package == "openvino" else run_here(race)  # nncf changes PyTorch itself
    lost = result.fidelity
    assert lost.keys() == {"torch-sdpa", *(peer.name for peer in peers)}
    assert {one["sentences"] for one in lost.values()} == {12}
    by_name = {timing.variant: timing.precision for timing in result.timings}
    assert all(by_name[peer.name] == peer.precision for peer in peers if peer.name != "ov-default")
    least = {peer.precision: lost[peer.name]["cosine_min"] for peer in (SDPA, *peers) if peer.name != "ov-default"}
    assert least.pop("fp32") > 1 - 1e-6
    assert all(0.9 < one < 1 - 1e-9 for one in least.values())


def test_time_that_is_up_ends_the_rounds(
    model: str, run_here: Callable[[Spec], Result], capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_here(spec(model, EAGER, SDPA, rounds=100_000, max_sec=0.5))
    rounds = {len(timing.rounds_ms) for timing in result.timings}  # on a slow machine of fewer runs each
    last = capsys.readouterr().out.splitlines()[-1]
    assert [f"progress {n} {n}" for n in rounds] == [last]
    assert 3 <= rounds.pop() < 100_000


def test_missing_artifact_is_named(model: str, run_here: Callable[[Spec], Result], tmp_path: Path) -> None:
    tuned = Variant(name="tuned", kind="tvm", path=str(tmp_path / "gone.tar"))
    with pytest.raises(StageFailed, match=r"tuned.*gone\.tar"):
        run_here(spec(model, tuned))


RUNS_FOR_EVER = """
import itertools, time
for n in itertools.count(1):
    print("progress", n, 1000, flush=True)
    time.sleep(0.01)
"""
CLOSES_ITS_OUTPUT = "import os, time; os.close(1); time.sleep(100)"


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Spec]]:
    """Puts a few lines of Python in the place of the benchmark's process, for a spec that nobody reads; afterwards, all
    of them must have ended."""
    others = set(psutil.Process().children(recursive=True))

    def play(code: str) -> Spec:
        monkeypatch.setattr(launch, "python_module", lambda *words: python_code(code))
        return spec("minilm-l6", EAGER)

    yield play
    assert set(psutil.Process().children(recursive=True)) <= others


def test_raising_from_progress_ends_the_process(plays: Callable[[str], Spec], tmp_path: Path) -> None:
    class Cancelled(Exception):
        pass

    def cancel(done: int, total: int) -> None:
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        run_benchmark(plays(RUNS_FOR_EVER), tmp_path, cancel)


@pytest.mark.parametrize("code", [RUNS_FOR_EVER, CLOSES_ITS_OUTPUT], ids=["runs", "closes its output"])
def test_overlong_benchmark_is_ended(plays: Callable[[str], Spec], tmp_path: Path, code: str) -> None:
    with pytest.raises(StageFailed, match="longer than"):
        run_benchmark(plays(code), tmp_path, timeout_sec=1.0)


def test_killed_process_is_a_failed_stage(plays: Callable[[str], Spec], tmp_path: Path) -> None:
    others = set(psutil.Process().children())  # not ours: Python's resource tracker lives as long as the tests

    def kill(done: int, total: int) -> None:
        for child in set(psutil.Process().children()) - others:
            child.kill()

    with pytest.raises(StageFailed, match="ended with code -9"):
        run_benchmark(plays(RUNS_FOR_EVER), tmp_path, kill)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (f"raise SystemExit({NO_SPACE})", StorageFull),
        ("raise SystemExit(1)", ProcessLost),
        ("raise ValueError('whatever')", StageFailed),
    ],
    ids=["a full disk", "without a word", "its own fault"],
)
def test_who_is_to_blame_for_a_process_without_a_result(
    plays: Callable[[str], Spec], tmp_path: Path, code: str, error: type[TunerError]
) -> None:
    with pytest.raises(error) as raised:
        run_benchmark(plays(code), tmp_path)
    assert type(raised.value) is error
