"""docs/from-tvmc.md: what each row says is so, found out by doing it; what a service does, by a web process alone."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import tarfile
import warnings
from collections.abc import Iterator
from importlib import metadata
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from click import Command, Context
from typer.testing import CliRunner

import tunesmith
from rpc.facts import device_facts
from tests.support.web import Web, serve
from tuner.cli.main import app
from tuner.config import Settings
from tuner.errors import FormatUnsupported, TunerError
from tuner.importers.source import resolve_source
from tuner.targets import presets

PAGE = Path(__file__).parents[2] / "docs" / "from-tvmc.md"
BLOCK = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)[0].strip().splitlines()

DONE = {
    "`pip install xgboost`": "test_compiling_and_running_do_what_they_say",
    "`tvmc compile MODEL`": "test_compiling_and_running_do_what_they_say",
    '`--target "llvm -mcpu=skylake"`': "test_targets_are_taken_as_tvmc_wrote_them",
    '`--input-shapes "data:[1,3,224,224]"`': "test_open_extents_are_said_and_formats_go_by_the_name",
    "`--model-format`": "test_open_extents_are_said_and_formats_go_by_the_name",
    "`--output module.tar`": "test_a_library_alone_and_a_dump_are_had",
    "`--tuning-records FILE`": "test_compiling_and_running_do_what_they_say",
    "`--dump-code relay,tir,ll,asm`": "test_a_library_alone_and_a_dump_are_had",
    "`--desired-layout`, `--disabled-pass`, `--opt-level`": "test_what_there_is_none_of_is_not_there",
    "`tar -xf module.tar`": "test_a_tar_holds_what_tvmcs_held",
    "`tvmc run module.tar`": "test_compiling_and_running_do_what_they_say",
    "`--inputs FILE.npz`, `--outputs FILE.npz`": "test_compiling_and_running_do_what_they_say",
    "`--fill-mode zeros`, `ones`, `random`": "test_made_up_inputs_are_seeded_and_another_device_is_refused",
    "`--print-time`, `--repeat N`, `--number N`": "test_times_are_told_as_tvmc_told_them",
    "`--device cpu`": "test_made_up_inputs_are_seeded_and_another_device_is_refused",
    "`--print-top N`": "test_what_else_is_named_is_there",
    "`--profile`": "test_what_else_is_named_is_there",
    "`preprocess.py`, `postprocess.py`": "test_what_else_is_named_is_there",
    "`tvmc tune MODEL`": "test_tuning_begins_with_records_that_are_sent_to_the_service",
    "`--output records.json`": "test_tuning_begins_with_records_that_are_sent_to_the_service",
    "`--prior-records FILE`": "test_tuning_begins_with_records_that_are_sent_to_the_service",
    "`--trials N`, `--timeout SEC`": "test_what_else_is_named_is_there",
    "`..T..` in the log": "test_what_else_is_named_is_there",
    "`--tuner`, `--enable-autoscheduler`": "test_what_else_is_named_is_there",
    "`--tasks`": "test_what_else_is_named_is_there",
    "`--rpc-tracker HOST:PORT`, `--rpc-key KEY`": "test_what_else_is_named_is_there",
    "`tvmc.load`, `tvmc.compile`, `tvmc.run`, `TVMCPackage`": "test_what_else_is_named_is_there",
}
OPTIONS = {
    "show": {"--kernels", "--kernel", "--tir", "--code", "--asm", "--failures"},
    "tune": {"--trials", "--minutes", "--prior-records", "--only", "--skip", "--timeout-sec", "--strategy"},
    "classify": {"--top-k"},
    "retry": {"--json"},
    "run": {"--text", "--save-inputs"},
    "embed": {"--output"},
    "agent": {"--tracker", "--key"},
    "records export": {"--job", "--output"},
}


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x))


def command_and_words(line: str) -> tuple[Command, list[str]]:
    program, *words = shlex.split(line)
    command: Command = typer.main.get_command(app)
    while hasattr(command, "commands") and words:
        command = command.commands[words.pop(0)]
    assert program == "tunesmith"
    return command, words


def run(*words: object) -> str:
    """What a command prints, that does what it should."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def options_of(name: str) -> set[str]:
    command, _ = command_and_words(f"tunesmith {name}")
    return {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with all the files that the page's commands take, where they were given in their order."""
    folder = tmp_path_factory.mktemp("tvmc")
    model, x = Net().eval(), torch.randn(2, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter calls itself deprecated
        torch.onnx.export(model, (x,), folder / "model.onnx", input_names=["x"], dynamo=False, opset_version=17)
        torch.onnx.export(
            model, (x,), folder / "open.onnx", input_names=["x"], dynamo=False, opset_version=17,
            dynamic_axes={"x": {0: "rows"}},
        )  # fmt: skip
    np.savez(folder / "inputs.npz", x=x.numpy())
    np.savez(folder / "wanted.npz", model(x).detach().numpy())
    with gzip.open(next((Path(__file__).parents[2] / "tuning_logs").glob("*.jsonl.gz")), "rt") as log:
        (folder / "records.jsonl").write_text("".join(islice(log, 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TUNER_DATA_DIR", str(folder / "data"))
        for line in BLOCK:
            words = shlex.split(line)[1:]
            if words[0] in ("compile", "run"):
                assert ("3 imported" in run(*words)) == ("--tuning-records" in words)
        yield folder


@pytest.fixture
def elsewhere(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A service on another machine: it sees none of our files."""
    with serve(tmp_path / "service") as web:
        monkeypatch.setenv("TUNER_URL", web.url)
        monkeypatch.setenv("TUNER_TOKEN", web.token)
        monkeypatch.setattr("tuner.cli.sending.whereabouts", lambda: "another machine")
        yield web


@pytest.mark.parametrize("line", BLOCK)
def test_each_command_has_the_options_it_is_shown_with(place: Path, line: str) -> None:
    command, words = command_and_words(line)
    command.make_context(line, words, parent=Context(command))  # parses, and calls nothing


def test_every_row_is_done_by_a_test() -> None:
    rows = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert rows == list(DONE)
    assert [name for name in DONE.values() if not callable(globals().get(name))] == []


def test_compiling_and_running_do_what_they_say(place: Path) -> None:
    with np.load("predictions.npz") as outputs, np.load("wanted.npz") as wanted:
        np.testing.assert_allclose(next(iter(outputs.values())), next(iter(wanted.values())), rtol=1e-4, atol=1e-5)
    assert metadata.version("xgboost")


def test_targets_are_taken_as_tvmc_wrote_them() -> None:
    given = "llvm -mcpu=skylake -mattr=+avx2,+fma -mtriple=x86_64-linux-gnu -num-cores=4"
    target = presets.resolve(given, "local", device_facts()).tvm
    assert (target["mcpu"], target["mattr"], target["num-cores"]) == ("skylake", ["+avx2", "+fma"], 4)
    plain = presets.resolve("llvm", "local", device_facts()).tvm
    assert plain == presets.resolve("local", "local", device_facts()).tvm
    for wrong in ("opencl", "vulkan", "rocm"):
        with pytest.raises(TunerError):
            presets.resolve(wrong, "local", device_facts())


def test_open_extents_are_said_and_formats_go_by_the_name(place: Path, tmp_path: Path) -> None:
    assert "float32[5,8]" in run("tasks", "open.onnx", "--batch", 5)
    for name in ("model.pb", "model.tflite"):
        (tmp_path / name).touch()
        with pytest.raises(FormatUnsupported) as refused:
            resolve_source(str(tmp_path / name))
        assert "model.onnx" in refused.value.hint


def test_a_library_alone_and_a_dump_are_had(place: Path) -> None:
    run("compile", "model.onnx", "-o", "alone.so", "--dump", "dumped")
    assert Path("alone.so").read_bytes()[:4] == b"\x7fELF"
    kinds = {file.suffix for file in Path("dumped").iterdir()}
    assert {".py", ".ll", ".s", ".txt"} <= kinds


def test_what_there_is_none_of_is_not_there() -> None:
    gone = {"--desired-layout", "--disabled-pass", "--opt-level", "--tuner", "--enable-autoscheduler"}
    assert not gone & (options_of("compile") | options_of("tune"))


def test_a_tar_holds_what_tvmcs_held(place: Path) -> None:
    with tarfile.open("model.tar") as archive:
        assert {"lib.so", "params.safetensors", "graph.relax", "manifest.json"} <= set(archive.getnames())
    run("export", "model.onnx", "--format", "relax", "--out", "graph.py")
    assert "def main(" in Path("graph.py").read_text()


def test_made_up_inputs_are_seeded_and_another_device_is_refused(place: Path) -> None:
    for name, fill in (("a.npz", "random"), ("b.npz", "random"), ("c.npz", "ones"), ("d.npz", "zeros")):
        run("run", "model.tar", "--fill-mode", fill, "--outputs", name, "--repeat", 1)
    a, b, c, d = (next(iter(np.load(name).values())) for name in ("a.npz", "b.npz", "c.npz", "d.npz"))
    assert (a == b).all()
    assert not (a == c).all()
    assert not (c == d).all()
    run("run", "model.tar", "--fill-mode", "random", "--save-inputs", "kept.npz", "--repeat", 1)
    run("run", "model.tar", "--inputs", "kept.npz", "--outputs", "e.npz", "--repeat", 1)
    assert (next(iter(np.load("e.npz").values())) == a).all()
    with pytest.raises(TunerError, match="metal"):
        run("run", "model.tar", "--device", "metal")


def test_times_are_told_as_tvmc_told_them(place: Path) -> None:
    told = run("run", "model.tar", "--print-time", "--repeat", 3, "--number", 2)
    assert all(word in told for word in ("Mean inference time (std dev)", "median", "min", "max")), told


def test_tuning_begins_with_records_that_are_sent_to_the_service(place: Path, elsewhere: Web) -> None:
    (line,) = [one for one in BLOCK if "--prior-records" in one]
    said = run(*shlex.split(line)[1:])
    assert "3 imported" in said
    assert "the service has it as upload:" in said
    assert json.loads(run("jobs", "--json"))["items"][0]["budget"]["trials"] == 1000
    run("records", "export", "--output", "out.jsonl")
    assert len(Path("out.jsonl").read_text().splitlines()) == 3


def test_what_else_is_named_is_there(place: Path, elsewhere: Web) -> None:
    for name, options in OPTIONS.items():
        assert options_of(name) >= options
    fields = {f"TUNER_{name.upper()}" for name in Settings.model_fields}
    assert {"TUNER_BUILD_TIMEOUT_SEC", "TUNER_SESSION_TIMEOUT_SEC"} <= fields
    assert {"optimize", "load"} <= set(tunesmith.__all__)
    assert "matmul" in run("tasks", "model.onnx") or "dense" in run("tasks", "model.onnx")
    assert "local" in run("targets")
