"""Tiny models compiled for machines that are not here: what comes out, and what is refused."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.sentence_models import write_sentence_model
from tests.support.tiny_models import write_model
from tuner.artifact.format import pack
from tuner.artifact.loader import ArtifactError, load
from tuner.artifact.symbols import check_library, read_library
from tuner.cli import words
from tuner.config import Settings
from tuner.errors import InvalidInput, LoadCheckFailed, SequenceTooLong
from tuner.importers.source import resolve_source
from tuner.jobs.standalone import Order, compile_model
from tuner.search.guess import GPU_MODEL
from tuner.targets import presets

SEQ_LEN = 16


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and, below ``data``, what its compilations share."""
    folder = tmp_path_factory.mktemp("cross")
    write_model(folder / "model", "bert")
    return folder


def compile_for(shared: Path, name: str, out: Path, seq_len: int | None = SEQ_LEN) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    facts = None
    if name == "local":
        from rpc.facts import device_facts

        facts = device_facts()
    target = presets.resolve(name, "local", facts)
    order = Order(resolve_source(str(shared / "model")), target, seq_len=seq_len)
    return compile_model(Settings(data_dir=shared / "data"), order, out, said.append), said


def unpack(tar: Path, folder: Path) -> Path:
    with tarfile.open(tar) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def for_m1(shared: Path) -> Path:
    """The unpacked artifact for the M1's CPU."""
    compile_for(shared, "m1-cpu", shared / "m1.tar")
    return unpack(shared / "m1.tar", shared / "m1")


@pytest.fixture(scope="module")
def for_metal(shared: Path) -> Path:
    """The unpacked artifact for the M1's GPU."""
    compile_for(shared, "m1-metal", shared / "metal.tar")
    return unpack(shared / "metal.tar", shared / "metal")


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


@pytest.mark.parametrize("made", ["for_m1", "for_metal"])
def test_a_library_for_a_mac_is_checked_and_says_that_no_mac_ran_it(made: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(made)
    manifest = manifest_of(folder)
    assert manifest["library"] == "lib.dylib"
    assert (manifest["load_check"], manifest["tested"]) == ("symbols", "not load-tested on a Mac")
    assert manifest["binary"]["format"] == "Mach-O aarch64 shared library"
    assert manifest["binary"]["minimum_os"] == "macOS 11.0"
    assert manifest["coverage"] == 0.0
    assert manifest["guessed"] > (0.99 if made == "for_m1" else -1)
    assert "verification" not in manifest
    assert "not load-tested on a Mac" in words.compiled(manifest)
    assert set(manifest["files"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}


def test_metal_kernels_travel_as_source(for_metal: Path) -> None:
    source = (for_metal / "source.metal").read_text()
    assert manifest_of(for_metal)["source"] == "source.metal"
    assert source.count("kernel void") >= manifest_of(for_metal)["kernels"]
    assert b"kernel void" in (for_metal / "lib.dylib").read_bytes()


def test_every_kernel_for_a_gpu_runs_there_and_nothing_is_copied_in_between(for_metal: Path) -> None:
    found = manifest_of(for_metal)["places"]
    known = {one["workload"]: one["kernel"] for one in manifest_of(for_metal)["schedules"]}
    assert [name for workload, name in known.items() if workload not in found["kernels"]] == ["cast_reshape"]  # folded
    assert set(found["kernels"].values()) == {"metal"}
    assert set(found["launches"]) == {"metal"}
    assert found["launches"]["metal"] >= len(found["kernels"]) == len(known) - 1
    assert found["host_copies"] == 0


def test_every_kernel_for_a_cpu_runs_there(for_m1: Path) -> None:
    places, schedules = manifest_of(for_m1)["places"]["kernels"], manifest_of(for_m1)["schedules"]
    assert set(places.values()) == {"cpu"}
    assert [one["kernel"] for one in schedules if one["workload"] not in places] == ["cast_reshape"]  # folded
    assert "launches on the cpu" in words.brought(manifest_of(for_m1))


def test_products_for_an_apple_gpu_are_by_simdgroup_matrices(for_metal: Path) -> None:
    assert "simdgroup_float8x8" in (for_metal / "source.metal").read_text()
    how = {one["kernel"]: one["by"] for one in manifest_of(for_metal)["schedules"]}
    assert how["matmul_add_gelu"] == f"guessed: {GPU_MODEL}"


def test_a_vector_for_each_text_is_compiled_for_an_apple_gpu(tmp_path: Path) -> None:
    write_sentence_model(tmp_path / "model", modes=("mean", "max"), dense={})
    manifest, _ = compile_for(tmp_path, "m1-metal", tmp_path / "metal.tar")
    assert [one["name"] for one in manifest["outputs"]] == ["sentence_embedding"]
    assert (manifest["load_check"], manifest["tested"]) == ("symbols", "not load-tested on a Mac")


def test_cpu_kernels_come_with_their_llvm_text(for_m1: Path) -> None:
    assert 'target triple = "arm64-apple-macos"' in (for_m1 / "source.ll").read_text()


def test_the_loader_refuses_a_library_of_another_machine(for_m1: Path, for_metal: Path) -> None:
    for folder in (for_m1, for_metal):
        with pytest.raises(ArtifactError, match=r"compiled for (aarch64|darwin), this machine"):
            load(folder)


def test_a_library_that_lacks_a_kernel_does_not_pass(for_m1: Path) -> None:
    library, target = for_m1 / "lib.dylib", presets.resolve("m1-cpu", "local").tvm
    with pytest.raises(LoadCheckFailed, match="does not export __tvm_ffi_missing"):
        check_library(library, target, ["missing"])
    with pytest.raises(LoadCheckFailed, match="needs ELF"):
        check_library(library, presets.resolve("linux-arm64", "local").tvm, [])


def test_the_library_alone_is_written_under_either_name(shared: Path, for_m1: Path, tmp_path: Path) -> None:
    for name in ("bert.so", "bert.dylib"):
        compile_for(shared, "m1-cpu", tmp_path / name)
        assert read_library(tmp_path / name).form == "Mach-O"


def test_linux_on_arm_gets_an_elf_library(shared: Path, tmp_path: Path) -> None:
    manifest, _ = compile_for(shared, "linux-arm64", tmp_path / "lib.so")
    library = read_library(tmp_path / "lib.so")
    assert (library.form, library.architecture) == ("ELF", "aarch64")
    assert (manifest["load_check"], manifest["tested"]) == ("none", "not load-tested on its device")


def test_what_is_compiled_for_this_machine_is_run_and_compared(shared: Path, tmp_path: Path) -> None:
    manifest, said = compile_for(shared, "local", tmp_path / "here.tar")
    assert said[-1] == "comparing its outputs with those of PyTorch, float32"
    assert (manifest["load_check"], manifest["tested"]) == ("device", "loaded and run")
    assert manifest["verification"]["max_abs_error"] < 1e-3
    runner = load(tmp_path / "here.tar")
    assert runner.run(**runner.example())


def test_who_asks_for_no_shape_gets_a_module_for_texts(shared: Path, tmp_path: Path) -> None:
    manifest, said = compile_for(shared, "local", tmp_path / "texts.tar", seq_len=None)
    assert said[0].endswith("for texts of any lengths")
    assert (manifest["texts"]["longest"], manifest["tested"]) == (64, "loaded and run")
    assert manifest["verification"]["max_abs_error"] < 1e-3
    first, second = load(tmp_path / "texts.tar").run(input_ids=[[5, 6, 7], [8]])["last_hidden_state"]
    assert (len(first), len(second)) == (3, 1)


def test_a_gpu_gets_one_shape_and_is_told_why(shared: Path, tmp_path: Path) -> None:
    manifest, said = compile_for(shared, "m1-metal", tmp_path / "metal.tar", seq_len=None)
    assert said[0] == "Texts of any lengths are for CPUs; m1-metal is none. So it is 1 x 64."
    assert (manifest["batch"], manifest["seq_len"]) == (1, 64)


def test_where_the_artifact_goes_nothing_lies_that_a_kill_would_leave(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[list[Path]] = []

    def look_and_pack(folder: Path, out: Path) -> None:
        found.append(list(tmp_path.iterdir()))
        pack(folder, out)

    monkeypatch.setattr("tuner.jobs.standalone.pack", look_and_pack)
    compile_for(shared, "linux-arm64", tmp_path / "arm.tar")
    assert found == [[]]
    assert [path.name for path in tmp_path.iterdir()] == ["arm.tar"]
    assert list((shared / "data" / "artifacts").iterdir()) == []


def test_a_name_that_the_library_can_not_have_is_refused_at_once(shared: Path, tmp_path: Path) -> None:
    for out, problem in ((tmp_path / "lib.dylib", r"for linux-arm64 end in \.so"), (tmp_path, "is a folder")):
        with pytest.raises(InvalidInput, match=problem):
            compile_for(shared, "linux-arm64", out)
    assert list(tmp_path.iterdir()) == []


def test_a_sequence_that_is_too_long_is_refused_at_once(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(SequenceTooLong):
        compile_for(shared, "m1-cpu", tmp_path / "long.tar", seq_len=4096)
