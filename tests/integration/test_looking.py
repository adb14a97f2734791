"""Looking into a model without a job: its kernels, and the model in forms that others read."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel
from typer.testing import CliRunner, Result

from rpc.facts import device_facts
from tests.support.rows import add_job
from tests.support.tiny_models import write_model
from tests.support.web import serve
from tuner.cli.main import app
from tuner.config import Settings
from tuner.db.engine import write
from tuner.db.models import JobWorkload
from tuner.errors import InvalidInput
from tuner.importers.source import resolve_source
from tuner.jobs.looking import tasks_of
from tuner.jobs.standalone import Order
from tuner.targets import presets


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny", "bert")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)


def last_hidden(model: Path, ids: np.ndarray) -> np.ndarray:
    network = AutoModel.from_pretrained(model).eval()
    with torch.inference_mode():
        return network(torch.from_numpy(ids), torch.ones(ids.shape, dtype=torch.int32)).last_hidden_state.numpy()


def test_kernels_are_listed_with_what_they_compute(model: Path, data: Path) -> None:
    told = json.loads(run("tasks", model, "--seq-len", 16, "--data-dir", data, "--json").stdout)
    product = max(told, key=lambda one: one["flops"] * one["launches"])
    assert (product["is_tuned"], product["weight_bytes"] > 0, product["launches"] > 0) == (True, True, True)
    script = run("tasks", model, "--seq-len", 16, "--data-dir", data, "--tir", product["name"]).stdout
    assert "@T.prim_func" in script
    table = run("tasks", model, "--seq-len", 16, "--data-dir", data).stdout
    assert all(one["name"] in table for one in told)
    with pytest.raises(InvalidInput, match="no kernel 'nothing'"):
        run("tasks", model, "--seq-len", 16, "--data-dir", data, "--tir", "nothing")


def test_the_graph_around_a_kernel_names_the_layers_it_computes(model: Path, data: Path) -> None:
    around = ("tasks", model, "--seq-len", 16, "--data-dir", data, "--graph")
    said = run(*around, "matmul_add_gelu").stdout
    assert "encoder.layer.*.intermediate.dense (* = 0, 1)" in said
    assert "layer_norm, 2 times" in said.partition("feeds")[0]
    assert "matmul_add_add, 2 times" in said.partition("feeds")[2]
    between = run(*around, "softmax").stdout
    assert "attention.self.query" in between
    assert "attention.output.dense" in between
    assert run(*around, "softmax", "--form", "dot").stdout.startswith("digraph")
    assert run(*around, "softmax", "--form", "mermaid").stdout.startswith("graph TD")
    with pytest.raises(InvalidInput, match="no kernel 'nothing'"):
        run(*around, "nothing")


def test_the_graph_around_a_kernel_of_a_job_is_that_of_its_model(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_DATA_DIR", str(data))
    here = presets.resolve("local", "local", device_facts())
    order = Order(resolve_source(str(model)), here, 1, 16)
    (kernel,) = [one for one in tasks_of(Settings(), order, print) if one.name == "matmul_add_gelu"]
    with serve(tmp_path / "service") as web:
        with write(web.engine) as session:
            job = add_job(session, model=str(model), id="job-1", target_json=here.tvm, batch=1, seq_len=16)
            session.add(kernel.as_row())
            session.flush()
            session.add(JobWorkload(job_id=job.id, workload_id=kernel.id))
        monkeypatch.setenv("TUNER_URL", web.url)
        monkeypatch.setenv("TUNER_TOKEN", web.token)
        said = run("show", "job-1", "--kernel", kernel.name, "--graph", "text").stdout
    assert said.startswith("matmul_add_gelu: 2 launches\n  computes     encoder.layer.*.intermediate.dense")
    assert run("show", "job-1", "--graph", "text").exit_code == 2


def test_an_onnx_graph_takes_texts_of_any_length(model: Path, data: Path, tmp_path: Path) -> None:
    run("export", model, "--format", "onnx", "--out", tmp_path / "model.onnx", "--data-dir", data)
    session = importlib.import_module("onnxruntime").InferenceSession(str(tmp_path / "model.onnx"))
    for shape in ((1, 5), (3, 11)):
        ids = np.arange(1, 1 + np.prod(shape), dtype=np.int32).reshape(shape)
        given = {"input_ids": ids, "attention_mask": np.ones(shape, np.int32), "token_type_ids": np.zeros_like(ids)}
        got = session.run(None, {one.name: given[one.name] for one in session.get_inputs()})[0]
        np.testing.assert_allclose(got, last_hidden(model, ids), rtol=1e-3, atol=1e-4)


def test_a_program_is_for_the_shape_that_was_asked_for(model: Path, data: Path, tmp_path: Path) -> None:
    where = ("--batch", 2, "--seq-len", 8, "--data-dir", data)
    run("export", model, "--format", "pt2", "--out", tmp_path / "model.pt2", *where)
    ids = np.arange(16, dtype=np.int32).reshape(2, 8)
    given = [torch.from_numpy(ids), torch.ones(2, 8, dtype=torch.int32), torch.zeros(2, 8, dtype=torch.int32)]
    got = torch.export.load(tmp_path / "model.pt2").module()(*given)[0].detach().numpy()
    np.testing.assert_allclose(got, last_hidden(model, ids), rtol=1e-3, atol=1e-4)


def test_the_graph_that_is_tuned_is_written_as_a_script(model: Path, data: Path, tmp_path: Path) -> None:
    run("export", model, "--format", "relax", "--seq-len", 16, "--out", tmp_path / "model.py", "--data-dir", data)
    script = (tmp_path / "model.py").read_text()
    assert "@I.ir_module" in script
    assert "def main(" in script


def test_an_operator_has_no_onnx_graph(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no encoder"):
        run("export", "op:gemm:4,8,16", "--format", "onnx", "--out", tmp_path / "x.onnx", "--data-dir", data)
