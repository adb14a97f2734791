"""The bundle for programs that are not Python: built with the line of its README, it computes what the loader does."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.tiny_made import tiny_import
from tuner.artifact import bundle
from tuner.artifact.format import pack
from tuner.artifact.loader import Runner, load
from tuner.artifact.machine import instructions, lacking
from tuner.compiler.module import read_manifest, seal
from tuner.errors import ArtifactMissing, InvalidInput
from tuner.importers.cache import Shape

IDS = [5, 17, 3, 9, 60]
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")


class Made:
    """A tiny model, compiled, packed and bundled."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        made = tiny_import(shape, head="sequence-classification")
        self.model = made.model
        shutil.copytree(made.artifact(), folder / "module")
        self.runner: Runner = load(folder / "module")
        self.manifest = seal(folder / "module", read_manifest(folder / "module"))
        self.tar, self.bundle, self.unpacked = folder / "a.tar", folder / "bundle.tar", folder / "unpacked"
        pack(folder / "module", self.tar)
        self.bundle.write_bytes(b"".join(bundle.bundle_of(self.tar, self.manifest).blocks()))
        with tarfile.open(self.bundle) as archive:
            archive.extractall(self.unpacked, filter="data")

    def build(self) -> None:
        """By the one line that its README has for that."""
        (line,) = [one for one in (self.unpacked / "README.md").read_text().splitlines() if "g++" in one]
        subprocess.run(["sh", "-c", line.strip().replace("-O2", "-O0")], cwd=self.unpacked, check=True)

    def numbers(self, *ids: int) -> np.ndarray:
        """What the example prints, in an environment without anything of Python's."""
        answer = self.answer(*ids)
        assert answer.returncode == 0, answer.stderr
        return np.array(answer.stdout.split(), np.float32)

    def answer(self, *ids: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["./example", *map(str, ids)], cwd=self.unpacked, env={}, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("texts"), Shape(texts=True))


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("padded"), Shape(2, 16))


def test_its_readme_names_the_model_and_no_folder_of_another_machine(texts: Made) -> None:
    readme = (texts.unpacked / "README.md").read_text()
    assert readme.startswith(f"# {texts.model.name} for C and C++")
    assert not any(str(file.parent) in readme for file in (texts.model, texts.tar))


@needs_compiler
def test_texts_of_any_length_give_what_the_loader_gives(texts: Made) -> None:
    texts.build()
    for ids in (IDS, IDS[:1], IDS * 3):
        wanted = texts.runner.run(input_ids=[ids])
        np.testing.assert_allclose(texts.numbers(*ids), next(iter(wanted.values()))[0], rtol=1e-5, atol=1e-6)
    assert f"holds 99999; this model knows 0 to {texts.runner.inputs[0]['below'] - 1}." in texts.answer(99999).stderr
    assert "There is no input_ids." in texts.answer().stderr


@needs_compiler
def test_many_texts_are_cut_into_runs(texts: Made) -> None:
    lengths = [3, 40, 7, 1, 22]
    limit = 45  # tokens of a run: fewer than they have together
    manifest = json.loads((texts.unpacked / "manifest.json").read_text())
    folder = texts.unpacked.with_name("cut")
    shutil.copytree(texts.unpacked, folder)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"texts": manifest["texts"] | {"most_tokens": limit}}))
    source = """
        #include <cstdio>
        #include <vector>
        #include "tunesmith.h"
        int main() {
          tunesmith_model* model = tunesmith_open(".");
          const int64_t lengths[] = {3, 40, 7, 1, 22};
          std::vector<int32_t> ids(73);
          for (int i = 0; i < 73; ++i) ids[i] = i % 50 + 1;
          std::vector<const int32_t*> inputs(tunesmith_num_inputs(model));
          inputs[tunesmith_find_input(model, "input_ids")] = ids.data();
          if (tunesmith_run_texts(model, 5, lengths, inputs.data()) != 0) return 1;
          const tunesmith_tensor* out = tunesmith_output(model, 0);
          for (int i = 0; i < out->shape[0] * out->shape[1]; ++i) std::printf("%.7g\\n", ((const float*)out->data)[i]);
          if (tunesmith_run(model, nullptr) == 0) return 2;
          std::fputs(tunesmith_last_error(), stderr);
          tunesmith_close(model);
        }"""
    (folder / "example.cc").write_text(source)
    cut = object.__new__(Made)
    cut.unpacked = folder
    cut.build()
    flat = [i % 50 + 1 for i in range(sum(lengths))]
    ends = np.cumsum(lengths)
    given = [flat[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    wanted = next(iter(texts.runner.run(input_ids=given).values()))
    answer = cut.answer()
    assert "call tunesmith_run_texts" in answer.stderr
    np.testing.assert_allclose(cut.numbers().reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)


@needs_compiler
def test_a_shape_gives_what_the_loader_gives(padded: Made) -> None:
    padded.build()
    ids, mask = np.zeros((2, 16), np.int32), np.zeros((2, 16), np.int32)
    ids[:, : len(IDS)], mask[:, : len(IDS)] = IDS, 1
    wanted = padded.runner.run(input_ids=ids, attention_mask=mask, token_type_ids=np.zeros_like(ids))
    np.testing.assert_allclose(padded.numbers(*IDS), next(iter(wanted.values()))[0], rtol=1e-5, atol=1e-6)
    linked = subprocess.run(["ldd", "example"], cwd=padded.unpacked, capture_output=True, text=True, check=True).stdout
    ours = [line.split("=>")[1] for line in linked.splitlines() if "libtvm" in line]
    assert len(ours) == 2
    assert all(str(padded.unpacked) in line for line in ours)
    weights = padded.unpacked / "params.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    assert "cut short" in padded.answer(*IDS).stderr
    weights.write_bytes(whole)


def test_a_processor_that_lacks_instructions_is_refused_by_them() -> None:
    target = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "znver4", "num-cores": 2}
    assert {"avx2", "avx512_bf16"} <= set(instructions(target))
    assert instructions({"kind": "llvm", "mtriple": "x86_64-linux-gnu"}) == []
    named = {k: v for k, v in target.items() if k != "num-cores"}
    older = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "haswell"}
    assert lacking(named, older, "")


def test_a_bundle_says_itself_what_it_must_be(padded: Made, tmp_path: Path) -> None:
    made = bundle.bundle_of(padded.tar, padded.manifest)
    assert padded.bundle.stat().st_size == made.size_bytes
    assert bundle.is_intact(padded.bundle, padded.manifest)
    subprocess.run(["sha256sum", "--quiet", "-c", bundle.SUMS], cwd=padded.unpacked, check=True)
    whole = padded.bundle.read_bytes()
    damaged = tmp_path / "damaged.tar"
    with tarfile.open(padded.bundle) as archive:
        place = archive.getmember("params.safetensors").offset_data
    for content in (whole[: len(whole) // 2], whole[: place + 200] + b"\xff" + whole[place + 201 :], b""):
        damaged.write_bytes(content)
        assert not bundle.is_intact(damaged, padded.manifest)
    another = padded.manifest | {"files": dict.fromkeys(padded.manifest["files"], "0")}
    assert not bundle.is_intact(padded.bundle, another)


def test_a_target_without_a_runtime_here_is_refused_by_name(padded: Made, tmp_path: Path) -> None:
    for target, reason in (
        ({"kind": "llvm", "mtriple": "arm64-apple-macos"}, "compiled for macos on aarch64"),
        ({"kind": "llvm", "mtriple": "riscv64-linux-gnu"}, "needs TVM's runtime for linux on riscv64"),
        ({"kind": "metal"}, "compiled for metal"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            bundle.bundle_of(padded.tar, padded.manifest | {"target": target})
    with pytest.raises(InvalidInput, match=r"needs TVM 0\.1\.0"):
        bundle.bundle_of(padded.tar, padded.manifest | {"versions": {"tvm": "0.1.0"}})
    (tmp_path / "short.tar").write_bytes(b"no tar")
    with pytest.raises(ArtifactMissing, match=r"short\.tar"):
        bundle.bundle_of(tmp_path / "short.tar", padded.manifest)
