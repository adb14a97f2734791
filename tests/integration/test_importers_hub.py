"""Models from a hub: there, in the cache, not there, and not answering."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from tests.support.fake_hub import commit_of, fake_hub, use_endpoint
from tests.support.onnx_models import export_onnx
from tests.support.processes import within
from tests.support.tiny_models import CONFIGS, WIDE_BERT, write_model
from tuner.errors import ModelInvalid, ModelUnknown, ModelUnreachable, StorageFull
from tuner.importers import hub
from tuner.importers.cache import Imported, Shape, import_source
from tuner.importers.copies import Room
from tuner.importers.huggingface import LoadedModel, load_torch
from tuner.importers.presets import Preset
from tuner.importers.snapshot import Fetched, bring
from tuner.importers.source import ModelSource, resolve_source


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where snapshots go."""
    return tmp_path / "sources"


def fetched(source: ModelSource, root: Path) -> Fetched:
    found = bring(source, root)
    return Fetched(found.complete(source), root / found.snapshot if found.snapshot else None)


def loaded(name: str, root: Path, allow_pickle: bool = False) -> LoadedModel:
    return load_torch(fetched(resolve_source(name, allow_pickle), root))


def test_hub_model_is_downloaded_once_and_then_found_offline(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "model", "bert", "sequence-classification")
    (folder / "flax_model.msgpack").write_bytes(b"not wanted")
    with fake_hub({"some-org/tiny": folder}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        found = loaded("some-org/tiny", root)
        assert loaded("some-org/tiny", root).source == found.source
    source = found.source
    assert (source.family, source.head, source.max_seq_len) == ("bert", "sequence-classification", 64)
    assert source.revision == commit_of(folder)
    assert found.weights == "pretrained"
    assert found.tokenizer is not None
    assert not any("flax" in path for path in served.asked)
    assert served.downloads() == 1
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert loaded("some-org/tiny", tmp_path / "others").source == source


def test_a_repository_of_onnx_files_alone_is_taken(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "model", "bert")
    (folder / "onnx").mkdir()
    export_onnx(folder, folder / "onnx" / "model.onnx")
    (folder / "onnx" / "model_quantized.onnx").write_bytes(b"not wanted")
    (folder / "model.safetensors").unlink()
    with fake_hub({"some-org/tiny": folder}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        found = fetched(resolve_source("some-org/tiny"), root)
        imported = import_source(found, Shape(1, 16), tmp_path / "imports")
    assert not any("quantized" in path for path in served.asked if "/resolve/" in path)
    assert (found.source.source, found.source.revision) == ("hub", commit_of(folder))
    assert (imported.family, imported.head, imported.weights) == ("bert", "encoder", "pretrained")
    assert "vocab.txt" in imported.tokenizer


def test_snapshot_outlives_the_librarys_cache(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_hub({"some-org/tiny": write_model(tmp_path / "model")}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        found = fetched(resolve_source("some-org/tiny"), root)
    shutil.rmtree(tmp_path / "cache")
    assert load_torch(found).weights == "pretrained"


def test_cached_model_is_used_when_the_hub_went_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_hub({"some-org/tiny": write_model(tmp_path / "model", tokenizer=False)}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        folder = hub.download("some-org/tiny")
    assert hub.download("some-org/tiny") == folder


@pytest.fixture
def two_revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Path]]:
    """A model whose tag v1 has other weights than its newest revision; both are on the hub."""
    folders = {"v1": write_model(tmp_path / "v1", seed=1), "main": write_model(tmp_path / "main", seed=2)}
    with fake_hub({"some-org/tiny": folders}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        yield folders


def test_revision_that_is_asked_for_is_the_one_that_comes(two_revisions: dict[str, Path], root: Path) -> None:
    commits = {name: commit_of(folder) for name, folder in two_revisions.items()}
    found = {name: loaded(f"some-org/tiny@{name}", root) for name in ("v1", "main", commits["v1"])}
    newest = loaded("some-org/tiny", root)
    assert [found[name].source.revision for name in found] == [commits["v1"], commits["main"], commits["v1"]]
    assert newest.source.revision == commits["main"]

    def weights(one: LoadedModel) -> np.ndarray:
        return next(one.network.parameters()).detach().numpy()

    np.testing.assert_array_equal(weights(found["v1"]), weights(found[commits["v1"]]))
    np.testing.assert_array_equal(weights(found["main"]), weights(newest))
    assert not np.array_equal(weights(found["v1"]), weights(newest))


@pytest.mark.usefixtures("two_revisions")
def test_revision_that_is_not_there_is_named(root: Path) -> None:
    with pytest.raises(ModelUnknown, match=r"some-org/tiny has no revision 'v3'"):
        loaded("some-org/tiny@v3", root)


def test_model_that_was_pushed_anew_is_imported_anew(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imported() -> Imported:
        return import_source(fetched(resolve_source("some-org/tiny"), root), Shape(1, 16), tmp_path / "imports")

    folder = write_model(tmp_path / "model", seed=1)
    with fake_hub({"some-org/tiny": folder}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        before = imported()
        assert imported() == before
        write_model(folder, seed=2)
        after = imported()
    assert (before.revision, after.revision) == (before.revision, commit_of(folder))
    assert len({before.key, after.key}) == len({before.revision, after.revision}) == 2


def test_unknown_hub_id_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_hub({}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        with pytest.raises(ModelUnknown, match="some-org/nothing"):
            loaded("some-org/nothing", root)


def test_pickle_only_hub_model_needs_the_flag(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_hub({"some-org/old": write_model(tmp_path / "model", pickle=True)}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        with pytest.raises(ModelInvalid) as caught:
            loaded("some-org/old", root)
        assert "--allow-pickle" in caught.value.hint
        assert loaded("some-org/old", root, allow_pickle=True).weights == "pretrained"


def test_download_is_not_begun_without_room_for_it(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "model")
    with fake_hub({"some-org/tiny": folder}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        with pytest.raises(StorageFull, match=f"{tmp_path}/cache"):
            bring(resolve_source("some-org/tiny"), root, Room(least_free_bytes=2**60))
    assert served.downloads() == 0


def test_model_that_is_too_large_is_not_downloaded(
    preset: ModelSource, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_hub({"some-org/tiny": write_model(tmp_path / "model")}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        for source in (resolve_source("some-org/tiny"), preset):
            with pytest.raises(ModelInvalid, match=r"some-org/tiny has .*TUNER_MAX_MODEL_BYTES"):
                bring(source, root, Room(most_bytes=1000))
    assert served.downloads() == 0


def test_progress_is_told_in_bytes_up_to_all_of_them(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "model", WIDE_BERT)
    told: list[tuple[int, int]] = []
    with fake_hub({"some-org/tiny": folder}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        bring(resolve_source("some-org/tiny"), root, progress=lambda done, total: told.append((done, total)))
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert told[-1] == (size, size)
    assert len(told) > 10
    assert told == sorted(told)


@pytest.mark.usefixtures("silent_endpoint")
def test_silent_hub_is_given_up_quickly(root: Path) -> None:
    with within(8), pytest.raises(ModelUnreachable, match="some-org/tiny") as caught:
        loaded("some-org/tiny", root)
    assert "local folder" in caught.value.hint


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch) -> ModelSource:
    """A tiny one, ``some-org/tiny`` on the hub."""
    for module in ("huggingface", "memory", "source"):
        presets = {"tiny": Preset("tiny", "some-org/tiny", CONFIGS["bert"])}
        monkeypatch.setattr(f"tuner.importers.{module}.PRESETS", presets)
    return resolve_source("tiny")


@pytest.mark.usefixtures("silent_endpoint")
def test_preset_without_a_hub_gets_seeded_random_weights_and_says_so(preset: ModelSource, root: Path) -> None:
    found = load_torch(fetched(preset, root))
    assert (found.weights, found.source.weights) == ("random", "random")
    assert "random weights" in found.note
    assert found.output_names == ("last_hidden_state", "pooler_output")


def test_silent_hub_is_asked_once_for_an_import(
    preset: ModelSource, tmp_path: Path, root: Path, silent_endpoint: socket.socket
) -> None:
    found = fetched(preset, root)
    once = visits(silent_endpoint)
    assert import_source(found, Shape(1, 16), tmp_path / "imports").weights == "random"
    assert (once > 0, visits(silent_endpoint)) == (True, 0)


def test_preset_whose_download_was_cut_short_still_lacks_its_weights(
    preset: ModelSource, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_hub({"some-org/tiny": write_model(tmp_path / "model")}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        (hub.download("some-org/tiny") / "model.safetensors").unlink()
        with monkeypatch.context() as offline:
            offline.setattr(constants, "HF_HUB_OFFLINE", True)
            assert fetched(preset, root).folder is None
        assert fetched(preset, root).folder is not None


def test_preset_that_was_imported_untrained_is_imported_anew_once_the_hub_is_back(
    preset: ModelSource, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imported() -> Imported:
        return import_source(fetched(preset, root), Shape(1, 16), tmp_path / "imports")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    untrained = imported()
    assert untrained.weights == "random"
    assert imported() == untrained
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with fake_hub({"some-org/tiny": write_model(tmp_path / "model")}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        trained = imported()
    assert trained.weights == "pretrained"
    assert trained.key != untrained.key
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert imported() == trained
