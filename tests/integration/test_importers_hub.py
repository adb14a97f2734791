"""Models from a hub: there, in the cache, not there, and not answering."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.support.fake_hub import fake_hub
from tests.support.processes import within
from tests.support.tiny_models import CONFIGS, write_model
from tuner.errors import ModelInvalid, ModelUnknown, ModelUnreachable
from tuner.importers import hub
from tuner.importers.cache import Imported, Shape, import_source
from tuner.importers.huggingface import load_torch
from tuner.importers.presets import Preset
from tuner.importers.source import ModelSource, resolve_source


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """What ``HF_ENDPOINT`` does, but it is read at import."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def silent_endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A hub that lets clients connect and never answers: its socket, which holds those that came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        use_endpoint(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(hub, "PROBE_TIMEOUT_SEC", 0.3)
        yield server


def visits(server: socket.socket) -> int:
    """How often somebody connected to a server that accepted nobody yet."""
    server.settimeout(0)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


def test_hub_model_is_downloaded_once_and_then_found_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "model", "bert", "sequence-classification")
    (folder / "flax_model.msgpack").write_bytes(b"not wanted")
    with fake_hub({"some-org/tiny": folder}) as (endpoint, asked):
        use_endpoint(monkeypatch, endpoint)
        loaded = load_torch(resolve_source("some-org/tiny"))
    assert (loaded.source.family, loaded.source.head, loaded.source.max_seq_len) == (
        "bert",
        "sequence-classification",
        64,
    )
    assert loaded.weights == "pretrained"
    assert loaded.tokenizer is not None
    assert not any("flax" in path for path in asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_torch(resolve_source("some-org/tiny")).weights == "pretrained"


def test_cached_model_is_used_when_the_hub_went_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_hub({"some-org/tiny": write_model(tmp_path / "model", tokenizer=False)}) as (endpoint, _):
        use_endpoint(monkeypatch, endpoint)
        folder = hub.download("some-org/tiny")
    assert hub.download("some-org/tiny") == folder


def test_unknown_hub_id_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_hub({}) as (endpoint, _):
        use_endpoint(monkeypatch, endpoint)
        with pytest.raises(ModelUnknown, match="some-org/nothing"):
            load_torch(resolve_source("some-org/nothing"))


def test_pickle_only_hub_model_needs_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_hub({"some-org/old": write_model(tmp_path / "model", pickle=True)}) as (endpoint, _):
        use_endpoint(monkeypatch, endpoint)
        with pytest.raises(ModelInvalid) as caught:
            load_torch(resolve_source("some-org/old"))
        assert "--allow-pickle" in caught.value.hint
        assert load_torch(resolve_source("some-org/old", allow_pickle=True)).weights == "pretrained"


@pytest.mark.usefixtures("silent_endpoint")
def test_silent_hub_is_given_up_quickly() -> None:
    with within(8), pytest.raises(ModelUnreachable, match="some-org/tiny") as caught:
        load_torch(resolve_source("some-org/tiny"))
    assert "local folder" in caught.value.hint


@pytest.mark.usefixtures("silent_endpoint")
def test_preset_without_a_hub_gets_seeded_random_weights_and_says_so() -> None:
    source = resolve_source("minilm-l6")
    if source.folder:
        pytest.skip("a package with this preset's weights is installed")
    loaded = load_torch(source)
    assert (loaded.weights, loaded.source.weights) == ("random", "random")
    assert "random weights" in loaded.note
    assert loaded.output_names == ("last_hidden_state", "pooler_output")


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch) -> ModelSource:
    """A tiny one, ``some-org/tiny`` on the hub."""
    for module in ("huggingface", "source"):
        presets = {"tiny": Preset("tiny", "some-org/tiny", CONFIGS["bert"])}
        monkeypatch.setattr(f"tuner.importers.{module}.PRESETS", presets)
    return resolve_source("tiny")


def test_silent_hub_is_asked_once_in_an_import(
    preset: ModelSource, tmp_path: Path, silent_endpoint: socket.socket
) -> None:
    hub.fetch_weights(preset)
    once = visits(silent_endpoint)
    assert import_source(preset, Shape(1, 16), tmp_path / "imports").weights == "random"
    assert (once > 0, visits(silent_endpoint)) == (True, 0)


def test_preset_whose_download_was_cut_short_still_lacks_its_weights(
    preset: ModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_hub({"some-org/tiny": write_model(tmp_path / "model")}) as (endpoint, _):
        use_endpoint(monkeypatch, endpoint)
        (hub.download("some-org/tiny") / "model.safetensors").unlink()
        assert hub.lacks_weights(preset)
        hub.fetch_weights(preset)
        assert not hub.lacks_weights(preset)


def test_preset_that_was_imported_untrained_is_imported_anew_once_the_hub_is_back(
    preset: ModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imported() -> Imported:
        hub.fetch_weights(preset)
        return import_source(preset, Shape(1, 16), tmp_path / "imports")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    untrained = imported()
    assert untrained.weights == "random"
    assert imported() == untrained
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with fake_hub({"some-org/tiny": write_model(tmp_path / "model")}) as (endpoint, _):
        use_endpoint(monkeypatch, endpoint)
        trained = imported()
    assert trained.weights == "pretrained"
    assert trained.key != untrained.key
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert imported() == trained
