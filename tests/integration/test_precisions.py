"""Jobs at a lower precision: what is made of them, what it loses, and when it is refused."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load as load_params
from safetensors.numpy import load_file, save_file
from sqlalchemy import Engine

from rpc.facts import device_facts
from tests.support import databases
from tests.support.model_files import in_place
from tests.support.rest import talking_to
from tests.support.submitting import submit_fetched
from tests.support.tiny_imports import local_target
from tests.support.tiny_models import CONFIGS, write_model
from tuner.config import Settings
from tuner.db import devices, jobs
from tuner.db.engine import make_engine, read, write
from tuner.db.models import Job
from tuner.errors import PrecisionLossTooLarge, PrecisionUnavailable
from tuner.importers import fidelity
from tuner.importers.huggingface import load_torch
from tuner.importers.reference import in_batches, reference_outputs
from tuner.importers.sentences import sentences, wanted_of
from tuner.importers.source import resolve_source
from tuner.jobs import stages
from tuner.jobs.standalone import Order, compile_model
from tuner.kernels.context import make_target
from tuner.kernels.precision import LOWER, available
from tuner.schemas import JobIn
from tuner.targets import presets

WIDE = CONFIGS["bert"] | {"hidden_size": 64, "intermediate_size": 128}
HERE = available(make_target(local_target()))

at_each_precision = pytest.mark.parametrize("precision", LOWER)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "wide", WIDE)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of one service for all tests here, so that the model is imported once for each shape."""
    found = Settings(data_dir=tmp_path_factory.mktemp("service"))
    databases.create(found)
    return found


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Engine]:
    engine = make_engine(settings)
    with write(engine) as session:
        devices.seen(session, settings.device_key, facts=device_facts())
    yield engine
    engine.dispose()


def compiled(settings: Settings, database: Engine, wish: JobIn) -> Job:
    """The job after its last stage."""
    job_id = submit_fetched(database, settings, wish).id
    for stage in (stages.import_model, stages.extract, stages.compile_module, stages.verify):
        stage(settings, job_id)
    with read(database) as session:
        return jobs.get(session, job_id)


def wish_for(model: Path, precision: str, **changes: object) -> JobIn:
    given = {"model": str(model), "precision": precision, "compile_only": True, "seq_len": 16, "batch": 2}
    return JobIn.model_validate(given | changes)


@at_each_precision
@pytest.mark.parametrize("shape", [{}, {"lengths": "4:32", "seq_len": None, "batch": None}], ids=["fixed", "texts"])
def test_a_module_says_what_it_loses(
    settings: Settings, database: Engine, model: Path, precision: str, shape: dict[str, object]
) -> None:
    if precision not in HERE:
        pytest.skip(f"this processor has no instructions for {precision}")
    job = compiled(settings, database, wish_for(model, precision, **shape))
    with talking_to(settings) as client:
        manifest = client.get(f"/v1/artifacts/{job.artifact_id}").json()["manifest"]
        assert client.get(f"/v1/jobs/{job.id}").json()["precision"] == precision
        page = client.get(f"/jobs/{job.id}").text
    lost = manifest["verification"]["fidelity"]
    assert manifest["precision"] == precision
    assert lost["sentences"] == len(sentences())
    assert lost["bounds"]["cosine_mean"] <= lost["cosine_mean"] < 1.0 - 1e-9  # it was rounded, and not too much
    assert "Same meaning" in page
    layers = lost["layers"]
    assert set(layers["alone"]) == {"encoder.layer.0", "encoder.layer.1", "pooler.dense"}
    assert f"{layers['worst']} loses most" in page
    # PyTorch rounds as the kernels do: it foretells what they lose, on other sentences.
    assert (1.0 - layers["together"]) / (1.0 - lost["cosine_mean"]) == pytest.approx(1.0, abs=0.5)


def test_the_padding_that_pytorch_is_spared_changes_nothing(model: Path) -> None:
    loaded, said, lines = load_torch(in_place(str(model))), list[str](), sentences()[:40]
    found = wanted_of(loaded, lines, 64, said.append)
    padded = [(reference_outputs(loaded, one), one["attention_mask"]) for one in in_batches(loaded, lines, 1, 64)]
    lost = fidelity.fidelity(found, fidelity.gathered(padded))
    assert (lost.sentences, lost.decisions) == (40, 1.0)
    assert lost.cosine_min == pytest.approx(1.0, abs=1e-6)
    assert lost.max_abs_error < 1e-4
    assert said[-1].endswith("(32 of 40)"), "it says how far it is"


def test_a_loss_beyond_the_bounds_makes_no_artifact(
    settings: Settings, database: Engine, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "int8" not in HERE:
        pytest.skip("this processor has no instructions for int8")
    monkeypatch.setitem(fidelity.BOUNDS, "int8", (1.0, 1.0))
    with pytest.raises(PrecisionLossTooLarge, match=r"too far from float32 on 202 sentences: cosine 0\.9"):
        compiled(settings, database, wish_for(model, "int8", batch=1))


def test_a_refusal_names_the_layer_that_loses_most_and_what_loses_less(
    settings: Settings, database: Engine, tmp_path: Path
) -> None:
    if "int8" not in HERE:
        pytest.skip("this processor has no instructions for int8")
    folder = write_model(tmp_path / "coarse", WIDE)
    weights = load_file(folder / "model.safetensors")
    (name,) = [one for one in weights if one.endswith("encoder.layer.1.output.dense.weight")]
    weights[name][:, 0] = 40.0 * np.abs(weights[name]).max()  # bytes have steps as large as the others
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    where = r"encoder\.layer\.1 loses most: cosine 0\.\d+ where it alone"
    with pytest.raises(PrecisionLossTooLarge, match=where) as found:
        compiled(settings, database, wish_for(folder, "int8", batch=1))
    if "bf16" in HERE:
        assert re.search(r"--precision bf16, which keeps a cosine of 0\.99", found.value.hint)


def test_what_the_target_can_not_compute_is_refused(settings: Settings, database: Engine, model: Path) -> None:
    with pytest.raises(PrecisionUnavailable, match="bf16 is for CPUs; m1-metal is none"):
        submit_fetched(database, settings, wish_for(model, "bf16", target="m1-metal"))
    with pytest.raises(PrecisionUnavailable, match="apple-m1 has no instructions for bf16"):
        compiled(settings, database, wish_for(model, "bf16", target="m1-cpu"))
    with pytest.raises(PrecisionUnavailable, match="An operator"):
        submit_fetched(database, settings, wish_for(Path("op:gemm:8,16,32"), "int8", seq_len=None, batch=None))


def test_a_module_for_a_mac_has_its_own_instructions(settings: Settings, database: Engine, model: Path) -> None:
    job = compiled(settings, database, wish_for(model, "int8", target="m1-cpu"))
    with talking_to(settings) as client:
        source = client.get(f"/v1/artifacts/{job.artifact_id}/download", params={"format": "source"}).text
    assert "neon.sdot" in source


def test_a_module_for_a_macs_gpu_takes_its_weights_in_halves_and_adds_up_in_float32(
    settings: Settings, database: Engine, model: Path
) -> None:
    job = compiled(settings, database, wish_for(model, "fp16", target="m1-metal"))
    with talking_to(settings) as client:
        manifest = client.get(f"/v1/artifacts/{job.artifact_id}").json()["manifest"]
        answer = client.get(f"/v1/artifacts/{job.artifact_id}/download")
        source = client.get(f"/v1/artifacts/{job.artifact_id}/download", params={"format": "source"}).text
    assert manifest["precision"] == "fp16"
    assert "simdgroup_half8x8" in source
    assert "simdgroup_float8x8" in source
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        params = load_params(tar.extractfile("params.safetensors").read())  # type: ignore[union-attr]
    halves = [value for value in params.values() if value.dtype == np.float16]
    assert len(halves) == 2 * 4 + 1  # four products in each of two layers, and the pooler's
    assert all(value.ndim == 2 for value in halves)
    assert any(value.dtype == np.float32 for value in params.values())


def test_the_command_line_compiles_at_a_lower_precision_and_says_what_it_loses(
    settings: Settings, model: Path, tmp_path: Path
) -> None:
    if "int8" not in HERE:
        pytest.skip("this processor has no instructions for int8")
    target = presets.resolve("local", "local", device_facts())
    order = Order(resolve_source(str(model)), target, 2, 16, "int8")
    manifest = compile_model(settings, order, tmp_path / "int8.tar", say=lambda _: None)
    assert manifest["precision"] == "int8"
    assert 0.97 < manifest["verification"]["fidelity"]["cosine_mean"] < 1.0 - 1e-9
    assert (tmp_path / "int8.tar").is_file()
    with pytest.raises(PrecisionUnavailable, match="m1-metal is none"):
        compile_model(settings, replace(order, target=presets.resolve("m1-metal", "local", {})), tmp_path / "x", print)
