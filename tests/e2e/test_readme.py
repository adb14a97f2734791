"""README as a new user goes through it: its code blocks as they stand, from a clone to a pipeline on a tuned module.

``INSTEAD`` says what stands in the place of what it says, and each block is done by one of the tests here.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
import typer
from click import Command, Context
from packaging.requirements import Requirement

from rpc.lifeline import child_env
from tests.support.processes import ROOT
from tests.support.service import Service, serving
from tests.support.tiny_models import CONFIGS, write_model, write_vocabulary
from tuner.cli.main import app

BLOCKS: list[str] = re.findall(
    r"^```(?:sh|python)\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
)
INSTEAD = {
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english": "{model}",  # as many words, in all else tiny
    '"minilm-l6"': '"{model}"',
    "--express": "--trials 2",
    '"trials": 64': '"trials": 8',
    "job-3f9c2a71b0": "{job}",
    ". .venv/bin/activate": f". {sys.prefix}/bin/activate",  # nothing is installed anew
    "localhost:8000": "{address}",
    "curl": "curl --silent --show-error",
}
STEPS = {  # how each block begins
    "make": "make demo",
    "serve": ". .venv/bin/activate\ntunesmith serve",
    "tune": ". .venv/bin/activate\ntunesmith tune",
    "pipeline": "import tunesmith\n",
    "rest": "curl ",
    "macs": "tunesmith compile",
    "loader": "pip install",
    "run": "import numpy",
    "texts": "model.run(",
}


def block(step: str) -> str:
    """The one block of a step."""
    (found,) = [one for one in BLOCKS if one.startswith(STEPS[step])]
    return found


pytestmark = pytest.mark.timeout(1800)  # it runs a job of a service to its end


@dataclass
class Reader:
    """Somebody with a folder, which is home, and a service that runs."""

    folder: Path
    service: Service
    job: str = ""

    def types(self, lines: str) -> str:
        """What a block says in the shell. The job that is named first is the reader's own."""
        said = ""
        for line in lines.replace("\\\n", " ").splitlines():
            done = self._run("bash", "-ec", f"{INSTEAD['. .venv/bin/activate']}; {self._instead(line)}")
            said += done.stdout + done.stderr
            self.job = self.job or next(iter(re.findall(r"job-[0-9a-f]+", said)), "")
        return said

    def runs(self, code: str) -> str:
        """What a block of Python says."""
        return self._run(sys.executable, "-c", self._instead(code)).stdout

    def _instead(self, text: str) -> str:
        for said, done in INSTEAD.items():
            text = text.replace(said, done)
        address = self.service.url.removeprefix("http://")
        for name, value in {"model": str(self.folder / "tiny-sst-2"), "job": self.job, "address": address}.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def _run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv, cwd=self.folder, env=child_env(HOME=str(self.folder)), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """After README's second step."""
    folder = tmp_path_factory.mktemp("reader")
    config = CONFIGS["distilbert"] | {"vocab_size": 8000, "id2label": {0: "NEGATIVE", 1: "POSITIVE", 2: "NEITHER"}}
    write_vocabulary(write_model(folder / "tiny-sst-2", config, "sequence-classification"))
    tokenizer = {"tokenizer_class": "DistilBertTokenizer", "model_input_names": ["input_ids", "attention_mask"]}
    (folder / "tiny-sst-2" / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    activate, serve = block("serve").splitlines()
    assert (activate, serve.partition("#")[0].split()) == (". .venv/bin/activate", ["tunesmith", "serve"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNER_BUILD_WORKERS", "1")
        with serving(folder / ".tunesmith", "--port", "0") as service:
            yield Reader(folder, service)


@pytest.fixture(scope="module")
def tuned(reader: Reader) -> str:
    """What was said on the way to an artifact that reads a text."""
    return reader.types(block("tune"))


def test_make_knows_the_targets() -> None:
    for line in block("make").splitlines():
        subprocess.run(["make", "-n", *shlex.split(line, comments=True)[1:]], cwd=ROOT, capture_output=True, check=True)


def test_a_job_ends_in_an_artifact_that_reads_texts(tuned: str) -> None:
    assert "sentiment.tar" in tuned
    assert re.search(r"(NEGATIVE|POSITIVE|NEITHER) \(\d+\.\d\d%\)", tuned)
    assert "median" in tuned


def test_the_pipeline_of_the_library_says_the_same(reader: Reader, tuned: str) -> None:
    code = block("pipeline")
    plain = code.replace('tunesmith.load("sentiment.tar").as_torch(model.config)', "model")
    assert plain != code
    (by_us,), (by_pytorch,) = map(literal_eval, reader.runs(code + plain).splitlines()[-2:])
    assert by_us["label"] == by_pytorch["label"]
    assert by_us["score"] == pytest.approx(by_pytorch["score"], abs=1e-4)


def test_the_same_is_had_over_rest(reader: Reader, tuned: str) -> None:
    job = json.loads(reader.types(block("rest")))
    assert (job["state"], job["budget"]["trials"]) == ("submitted", 8)
    assert reader.service.ask("POST", f"/v1/jobs/{job['id']}/cancel").is_success


def test_the_artifact_runs_by_its_own_loader(reader: Reader, tuned: str) -> None:
    install, *rest = block("loader").splitlines()
    for wanted in map(Requirement, install.split()[2:]):
        assert wanted.specifier.contains(metadata.version(wanted.name)), wanted
    assert "median" in reader.types("\n".join(rest))
    reader.runs(block("run") + block("texts") + "assert outputs['logits'].shape == (2, 3)")


@pytest.mark.parametrize("line", block("macs").splitlines())
def test_the_lines_for_macs_are_commands(line: str) -> None:
    _, *words = shlex.split(line, comments=True)
    command: Command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(line, words, parent=Context(command))  # parses, and calls nothing


def test_each_block_is_a_step() -> None:
    assert sorted(map(block, STEPS)) == sorted(BLOCKS)
