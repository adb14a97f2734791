"""The loader on a real, tiny artifact: as a library, as the file inside the tar, and on what it must refuse."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.support import tiny_artifact
from tests.support.processes import patience
from tuner.artifact.loader import ArtifactError, load
from tuner.artifact.machine import _take_all_cpus, lacking

X = np.arange(8, dtype="float32").reshape(2, 4)
WANT = X @ tiny_artifact.WEIGHT + tiny_artifact.BIAS


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_artifact.build(tmp_path_factory.mktemp("built"))


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    copy = tmp_path / "artifact"
    copy.mkdir()
    for member in built.iterdir():
        (copy / member.name).write_bytes(member.read_bytes())
    return copy


def change_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_tar_and_folder_compute_the_same(built: Path, tmp_path: Path) -> None:
    tar = tiny_artifact.pack(built, tmp_path / "a.tar")
    for path in (tar, built):
        np.testing.assert_allclose(load(path).run(x=X)["y"], WANT, rtol=1e-5)


def test_benchmark_orders_its_percentiles(built: Path) -> None:
    median, p10, p90 = load(built).benchmark(20)
    assert 0 < p10 <= median <= p90


def test_inputs_are_converted_to_the_manifests_dtype(built: Path) -> None:
    np.testing.assert_allclose(load(built).run(x=X.astype("float64"))["y"], WANT, rtol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "The inputs are x; got none."),
        ({"y": X}, "The inputs are x; got y."),
        ({"x": X[:1]}, "x has shape (1, 4), this artifact is compiled for (2, 4)."),
    ],
)
def test_wrong_inputs_are_named(built: Path, inputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        load(built).run(**inputs)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0, 1, 2, 3], [4, 5, 6, 8]], "x holds 8; this model knows 0 to 7."),
        ([[0, 1, 2, 3], [4, 5, -1, 7]], "x holds -1; this model knows 0 to 7."),
        ([[0, 1, 2, 3], [4, 5, 6, 2**40]], f"x holds {2**40}; this model knows 0 to 7."),
        (X, "x are whole numbers from 0 to 7; got float32."),
    ],
)
def test_numbers_that_the_model_has_no_meaning_for_are_named(folder: Path, values: object, message: str) -> None:
    change_manifest(folder, inputs=[{"name": "x", "shape": [2, 4], "dtype": "float32", "below": 8}])
    runner = load(folder)
    np.testing.assert_allclose(runner.run(x=X.astype("int64"))["y"], WANT, rtol=1e-5)
    with pytest.raises(ArtifactError) as caught:
        runner.run(x=values)
    assert str(caught.value) == message


def test_padding_on_the_side_that_would_be_computed_otherwise_is_refused(folder: Path) -> None:
    change_manifest(folder, inputs=[{"name": "x", "shape": [2, 4], "dtype": "float32", "below": 2, "padding": "right"}])
    runner = load(folder)
    runner.run(x=[[1, 1, 0, 0], [1, 1, 1, 1]])
    with pytest.raises(ArtifactError, match="padding before a token"):
        runner.run(x=[[1, 1, 0, 0], [0, 1, 1, 1]])
    with pytest.raises(ArtifactError, match="x has no token in row 1"):
        runner.run(x=[[1, 1, 0, 0], [0, 0, 0, 0]])


def test_damaged_member_is_refused_by_its_checksum(folder: Path) -> None:
    weights = folder / "params.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ArtifactError, match=r"params\.safetensors does not match its checksum"):
        load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {}},
        {"files": {"lib.so": hashlib.sha256(b"").hexdigest()}},  # the weights are read too
        {"library": "../lib.so", "files": {"../lib.so": "", "params.safetensors": ""}},
        {"library": "/tmp/lib.so", "files": {"/tmp/lib.so": "", "params.safetensors": ""}},
        {"library": "..", "files": {"params.safetensors": ""}},
        {"library": None},
    ],
)
def test_only_files_that_the_manifest_vouches_for_are_used(folder: Path, changes: dict[str, object]) -> None:
    change_manifest(folder, **changes)
    with pytest.raises(ArtifactError, match="vouches for no file"):
        load(folder)


def test_a_library_is_written_nowhere_but_to_a_folder_of_its_own(built: Path, tmp_path: Path) -> None:
    """Whatever the tar calls it."""
    evil = "../../stolen.so"
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for member in built.iterdir():
            content = member.read_bytes()
            if member.name == "manifest.json":
                content = content.replace(b'"lib.so"', json.dumps(evil).encode())
            info = tarfile.TarInfo(evil if member.name == "lib.so" else member.name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(ArtifactError, match=r"no file '\.\./\.\./stolen\.so'"):
        load(tmp_path / "a.tar")
    assert not list(Path(tempfile.gettempdir()).parent.glob("stolen.so"))


def test_truncated_tar_is_refused(built: Path, tmp_path: Path) -> None:
    tar = tiny_artifact.pack(built, tmp_path / "a.tar")
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])
    with pytest.raises(ArtifactError, match=r"damaged|cut short|no artifact|can.t be read"):
        load(tar)


def test_file_that_is_no_artifact_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "absent.tar"):
        with pytest.raises(ArtifactError, match="artifact"):
            load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": {"kind": "llvm", "mtriple": "riscv64-unknown-linux-gnu"}}, "compiled for riscv64, this machine is"),
        ({"versions": {"tvm": "0.99.0"}}, "needs TVM 0.99.0, .* is installed. Run: pip install apache-tvm==0.99.0"),
    ],
)
def test_artifact_for_another_machine_is_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    change_manifest(folder, **changes)
    with pytest.raises(ArtifactError, match=message):
        load(folder)


def test_newer_processor_is_refused_before_it_crashes(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    if not manifest["target"]["mtriple"].startswith("x86_64"):
        pytest.skip("the processors compared are x86-64")
    # In LLVM's tables, in hardly any machine.
    change_manifest(folder, target={**manifest["target"], "mcpu": "diamondrapids"})
    with pytest.raises(ArtifactError, match=r"compiled for diamondrapids, this processor lacks \w+"):
        load(folder)


@pytest.mark.parametrize(
    ("target", "own", "cpuinfo", "missing"),
    [
        (("x86_64-linux-gnu", "znver4"), "znver4", "flags\t: avx2 fma avx512f avx512bw avx512_vnni", ["avx512bf16"]),
        (("x86_64-linux-gnu", "x86-64-v3"), "znver4", "flags\t: avx2 fma", []),
        (("aarch64-linux-gnu", "apple-m1"), "generic", "Features\t: fp asimdhp", ["dotprod"]),
        (("aarch64-linux-gnu", "apple-m2"), "apple-m1", "", ["bf16", "i8mm"]),
        (("aarch64-linux-gnu", "apple-m1"), "apple-m2", "", []),
    ],
)
def test_instructions_that_a_machine_lacks_are_named(
    target: tuple[str, str], own: str, cpuinfo: str, missing: list[str]
) -> None:
    wanted, here = ({"kind": "llvm", "mtriple": target[0], "mcpu": mcpu} for mcpu in (target[1], own))
    assert lacking(wanted, here, cpuinfo) == missing


def test_loader_in_the_tar_needs_only_tvm_and_numpy(built: Path, tmp_path: Path) -> None:
    """Runs the tar's own loader with every other package of ours blocked."""
    tar = tiny_artifact.pack(built, tmp_path / "a.tar")
    blocked = [
        "tuner",
        "api",
        "rpc",
        "torch",
        "safetensors",
        "pydantic",
        "httpx",
        "typer",
        "rich",
        "psutil",
        "cloudpickle",
    ]
    script = (
        f"import sys, runpy\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        f"sys.argv = ['loader.py', {str(tar)!r}, '--runs', '5']\n"
        f"runpy.run_path({str(built / 'loader.py')!r}, run_name='__main__')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TVM_NUM_THREADS"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=patience(60), env=environment)
    assert done.returncode == 0, done.stderr
    assert "y: float32[2, 3]" in done.stdout
    assert "median" in done.stdout
    assert "1 threads" in done.stdout


_SHOW_CORES = """
import os, sys
os.environ["TVM_NUM_THREADS"] = str(os.cpu_count())
import numpy as np
from tuner.artifact.loader import load
runner = load(sys.argv[1])
caller, seen = os.sched_getaffinity(0), []
compute = runner._main
runner._main = lambda *arguments: (seen.append(os.sched_getaffinity(0)), compute(*arguments))[1]
for _ in range(2):
    runner.run(x=np.zeros((2, 4), "float32"))
print(seen, os.sched_getaffinity(0) == caller, os.environ["TVM_BIND_THREADS"])
"""


@pytest.mark.parametrize(
    ("own_choice", "expected"), [({}, "[{0}, {0}] True 1"), ({"TVM_BIND_THREADS": "0"}, " True 0")]
)
def test_the_caller_computes_on_the_first_core_and_is_free_again(
    built: Path, own_choice: dict[str, str], expected: str
) -> None:
    if not _take_all_cpus(os.cpu_count() or 1):
        pytest.skip("threads can't fill this machine's cores one by one")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TVM_")} | own_choice
    command = [sys.executable, "-c", _SHOW_CORES, str(built)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience(60), env=environment, check=True)
    assert done.stdout.strip().endswith(expected)


def test_threads_are_bound_only_where_they_fill_equal_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    assert _take_all_cpus(4, tmp_path)
    assert not _take_all_cpus(2, tmp_path)  # the others are for whoever else runs here
    for cpu, frequency in enumerate((3000000, 3000000, 2000000, 2000000)):
        (tmp_path / f"cpu{cpu}" / "cpufreq").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "cpufreq" / "cpuinfo_max_freq").write_text(f"{frequency}\n")
    assert not _take_all_cpus(4, tmp_path)  # TVM orders them by speed
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3}, raising=False)
    assert not _take_all_cpus(4, tmp_path)
