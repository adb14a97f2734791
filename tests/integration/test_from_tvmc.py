"""docs/from-tvmc.md: every command it shows is one, and what runs here without a service does what it says."""

from __future__ import annotations

import gzip
import re
import shlex
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from click import Command, Context
from typer.testing import CliRunner

from tuner.cli.main import app

PAGE = Path(__file__).parents[2] / "docs" / "from-tvmc.md"
BLOCK = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)[0].strip().splitlines()


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x))


@pytest.mark.parametrize("line", BLOCK)
def test_each_command_has_the_options_it_is_shown_with(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("records.jsonl", "inputs.npz"):
        Path(name).touch()
    program, *words = shlex.split(line)
    command: Command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    assert program == "tunesmith"
    command.make_context(line, words, parent=Context(command))  # parses, and calls nothing


def test_compiling_and_running_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNER_DATA_DIR", str(tmp_path / "data"))
    model, x = Net().eval(), torch.randn(2, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter calls itself deprecated
        torch.onnx.export(model, (x,), "model.onnx", input_names=["x"], dynamo=False, opset_version=17)
    np.savez("inputs.npz", x=x.numpy())
    with gzip.open(next((Path(__file__).parents[2] / "tuning_logs").glob("*.jsonl.gz")), "rt") as log:
        Path("records.jsonl").write_text("".join(islice(log, 3)))
    for line in BLOCK:
        words = shlex.split(line)[1:]
        if words[0] in ("compile", "run"):
            done = CliRunner().invoke(app, words, catch_exceptions=False)
            assert done.exit_code == 0, done.output
            assert ("3 imported" in done.output) == ("--tuning-records" in words)
    with np.load("predictions.npz") as outputs, torch.inference_mode():
        np.testing.assert_allclose(next(iter(outputs.values())), model(x).numpy(), rtol=1e-4, atol=1e-5)
