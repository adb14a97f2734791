"""``torch.compile(model, backend=...)``: by PyTorch at once, then tuned, and what stays with PyTorch is said."""

from __future__ import annotations

import copy
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import torch

from rpc.facts import device_facts
from rpc.lifeline import child_env
from tests.support.samples import job
from tuner.artifact import loader
from tuner.client.http import Client
from tuner.config import Settings
from tuner.importers.source import resolve_source
from tuner.jobs.standalone import Order, compile_model
from tuner.schemas import ErrorBody, JobIn, JobOut
from tuner.targets import presets
from tunesmith import swapping, torch_backend
from tunesmith.captured import Captured
from tunesmith.swapping import Swapping


class Net(torch.nn.Module):
    """Two layers, a buffer, and a break in between if it is wanted."""

    def __init__(self, breaks: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Linear(8, 16), torch.nn.Linear(16, 4)
        self.register_buffer("scale", torch.full((4,), 2.0))
        self.breaks = breaks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        if self.breaks:
            torch._dynamo.graph_break()
        return self.second(x) * self.scale


class Odd(torch.nn.Module):
    """With an operator that TVM's importer does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.i0e(self.linear(x))


class Service(Client):
    """One that compiles what it is sent here and now, without a search."""

    def __init__(self, folder: Path, fails: str | None = None) -> None:
        super().__init__("http://127.0.0.1:1")
        self.folder, self.fails, self.wishes = folder, fails, list[JobIn]()

    def submit(self, wish: JobIn) -> JobOut:
        self.wishes.append(wish)
        if not self.fails:
            order = Order(resolve_source(wish.model), presets.resolve("local", "local", device_facts()))
            compile_model(
                Settings(data_dir=self.folder / "service"), order, self.folder / "made.tar", lambda line: None
            )
        return job()

    def progress(self, job_id: str) -> Iterator[JobOut]:
        error = ErrorBody(code=self.fails, message="It has odd things.", hint="") if self.fails else None
        yield job(state="failed" if self.fails else "succeeded", error=error)

    def download(self, thing: str, path: str | Path | None = None, form: str = "tar", **told: Any) -> Path:
        Path(str(path)).write_bytes((self.folder / "made.tar").read_bytes())
        return Path(str(path))


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("TUNER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("tunesmith.graph_jobs.seen_there", lambda client, model, allow_pickle: model)
    monkeypatch.setattr(torch_backend, "_fixed", [])
    monkeypatch.setattr(swapping, "_told", set())
    torch._dynamo.reset()
    with Service(tmp_path) as client:
        yield client
    torch._dynamo.reset()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each call of a tuned module."""
    calls: list[str] = []
    plain = loader.Runner.run_in_place

    def counted(self: loader.Runner, **inputs: Any) -> dict[str, Any]:
        calls.append("tuned")
        return plain(self, **inputs)

    monkeypatch.setattr(loader.Runner, "run_in_place", counted)
    return calls


def slow(graph: torch.fx.GraphModule, example: Any) -> Callable[..., Any]:
    """A backend of PyTorch that takes its time."""

    def call(*arguments: Any) -> Any:
        time.sleep(0.05)
        return graph(*arguments)

    return call


def compiled(model: torch.nn.Module, service: Client, meanwhile: Any = slow, **more: Any) -> Any:
    options = {"service": service, "budget": 8, "wait": True, "meanwhile": meanwhile}
    return torch.compile(model.eval(), backend=torch_backend.tunesmith, options=options, **more)


def same(got: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_a_model_is_swapped_once_its_module_agrees_and_the_next_process_finds_it(
    service: Service, runs: list[str]
) -> None:
    model, x = Net().eval(), torch.randn(3, 8)
    faster = compiled(model, service)
    with torch.inference_mode():
        for _ in range(3):
            same(faster(x), model(x))
        assert len(runs) == 3  # the first beside PyTorch
        torch._dynamo.reset()  # as a process that starts
        again = compiled(copy.deepcopy(model), service)
        same(again(x), model(x))
    assert (len(runs), len(service.wishes), service.wishes[0].budget.trials) == (4, 1, 8)


def test_other_shapes_stay_with_pytorch_and_known_ones_stay_tuned(service: Service, runs: list[str]) -> None:
    model, x = Net().eval(), torch.randn(3, 8)
    faster = compiled(model, service)
    with torch.inference_mode():
        same(faster(x), model(x))
        with pytest.warns(UserWarning, match="shapes change"):
            same(faster(torch.ones(5, 8)), model(torch.ones(5, 8)))
        before = len(runs)
        same(faster(torch.ones(6, 8)), model(torch.ones(6, 8)))
        assert len(runs) == before
        same(faster(x), model(x))
    assert (len(runs), len(service.wishes)) == (before + 1, 1)


def test_a_broken_graph_is_tuned_in_its_parts(service: Service, runs: list[str]) -> None:
    model, x = Net(breaks=True).eval(), torch.randn(3, 8)
    faster = compiled(model, service)
    with torch.inference_mode():
        with pytest.warns(UserWarning, match=r"breaks the model at .*test_torch_backend.py"):
            same(faster(x), model(x))
        same(faster(x), model(x))
    assert (len(runs), len(service.wishes)) == (4, 2)


def test_unknown_operators_stay_and_no_later_process_asks_again(service: Service, runs: list[str]) -> None:
    service.fails = "operators_unsupported"
    model, x = Odd().eval(), torch.randn(3, 8)
    with torch.inference_mode():
        for _ in range(2):
            torch._dynamo.reset()
            swapping._told.clear()
            with pytest.warns(UserWarning, match="It has odd things"):
                same(compiled(model, service)(x), model(x))
    assert (runs, len(service.wishes)) == ([], 1)


def test_weights_that_change_end_the_tuned_module(service: Service, runs: list[str]) -> None:
    model, x = Net().eval(), torch.randn(3, 8)
    faster = compiled(model, service)
    with torch.no_grad():
        same(faster(x), model(x))
        model.first.weight.mul_(3.0)
        with pytest.warns(UserWarning, match="weights were changed"):
            same(faster(x), model(x))
        same(faster(x), model(x))
    assert len(runs) == 1


def test_where_gradients_are_wanted_nothing_is_tuned(service: Service) -> None:
    model, x = Net().eval(), torch.randn(3, 8)
    with pytest.warns(UserWarning, match="gradients are kept"):
        out = compiled(model, service)(x)
    out.sum().backward()
    assert (model.first.weight.grad is not None, service.wishes) == (True, [])


def test_a_module_that_computes_something_else_is_not_taken(service: Service, tmp_path: Path) -> None:
    model, x = Net().eval(), torch.randn(3, 8)
    captured: list[Captured] = []

    def keep(graph: torch.fx.GraphModule, example: Any) -> Any:
        captured.append(Captured(graph, example))
        return graph

    with torch.inference_mode():
        compiled(model, service)(x)
        other = copy.deepcopy(model)
        other.scale += 1.0
        torch.compile(other, backend=keep)(x)
        swapped = Swapping(captured[0])
        swapped.offer(loader.load(next((tmp_path / "data" / "graphs").glob("*.tar"))))
        arguments = captured[0].example
        same(swapped(*arguments)[0], other(x))
        assert not swapped.is_tuned
        with pytest.warns(UserWarning, match="off by"):
            same(swapped(*arguments)[0], other(x))


def test_who_wins_the_first_calls_takes_the_others(
    service: Service, runs: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    model, x = Net().eval(), torch.randn(3, 8)
    faster = compiled(model, service)
    with torch.inference_mode(), caplog.at_level(logging.INFO, "tunesmith"):
        for _ in range(19 + 4):  # one beside PyTorch, eighteen in turns
            same(faster(x), model(x))
    assert len(runs) == 1 + 9 + 4
    assert "swapped in: it takes" in caplog.text


def test_a_module_that_is_not_faster_is_not_taken(
    service: Service, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = Net().eval(), torch.randn(3, 8)
    plain = loader.Runner.run_in_place

    def slowly(self: loader.Runner, **inputs: Any) -> dict[str, Any]:
        time.sleep(0.05)
        return plain(self, **inputs)

    monkeypatch.setattr(loader.Runner, "run_in_place", slowly)
    faster = compiled(model, service, "eager")
    with torch.inference_mode():
        for _ in range(19):
            same(faster(x), model(x))
        with pytest.warns(UserWarning, match=r"not faster: it takes .* ms a call, PyTorch takes"):
            same(faster(x), model(x))
        same(faster(x), model(x))
    assert len(runs) == 1 + 9


@pytest.mark.parametrize("is_ending", [False, True])
def test_a_module_that_is_damaged_goes_unless_the_program_is_what_ends(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ending: bool
) -> None:
    monkeypatch.setattr(Captured, "key", lambda self: "known")
    module = tmp_path / "data" / "graphs" / "known.tar"
    module.parent.mkdir(parents=True)
    module.touch()
    if is_ending:
        monkeypatch.setattr("tunesmith.tuned_graphs.threading.main_thread", threading.Thread)
    model, x = Net().eval(), torch.randn(3, 8)
    with torch.inference_mode(), pytest.warns(UserWarning, match="can't be loaded here"):
        same(compiled(model, service)(x), model(x))
    assert module.exists() == is_ending


def test_a_backend_that_there_is_not_is_refused(service: Service) -> None:
    with pytest.raises(Exception, match="PyTorch has no backend 'quick'"), torch.inference_mode():
        compiled(Net(), service, "quick")(torch.randn(3, 8))


def test_the_backend_loads_nothing_that_only_tuning_needs(tmp_path: Path) -> None:
    code = "import sys, tunesmith.torch_backend; print(*{'tvm', 'transformers', 'httpx', 'typer'} & set(sys.modules))"
    environment = child_env(TUNER_DATA_DIR=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_pytorch_finds_the_backend_by_its_name() -> None:
    entries = {(one.group, one.name): one.value for one in distribution("tunesmith").entry_points}
    assert entries["torch_dynamo_backends", "tunesmith"] == "tunesmith.torch_backend:tunesmith"
    assert "tunesmith" in torch.compiler.list_backends()
