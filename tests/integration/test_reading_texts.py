"""Text in, answers out: by the command line, from an artifact and its model's tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline
from typer.testing import CliRunner, Result

from tests.support.tiny_made import tiny_import
from tuner.apart import Limits, answered
from tuner.bench import spec
from tuner.cli.main import app
from tuner.client import runtimes
from tuner.errors import InvalidInput, StageFailed
from tuner.importers.cache import Shape

TEXTS = ["the old river was small", "a city", "morning light on the water and the stone bridge"]


def artifact(head: str, shape: Shape) -> tuple[Path, Path]:
    """A model's folder, and its artifact's."""
    made = tiny_import(shape, head=head)
    return made.model, made.artifact()


@pytest.fixture(scope="module")
def classifier() -> tuple[Path, Path]:
    """Of one shape: two texts of sixteen tokens."""
    return artifact("sequence-classification", Shape(2, 16))


@pytest.fixture(scope="module")
def encoder() -> tuple[Path, Path]:
    """For texts of any lengths."""
    return artifact("encoder", Shape(texts=True))


def run(*args: object, typed: str = "") -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], input=typed, catch_exceptions=False)


def wanted(files: Path) -> list[list[dict[str, object]]]:
    """What the library's own pipeline says, the likeliest label first."""
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(files), AutoTokenizer.from_pretrained(files)
    return pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)(TEXTS)


def test_labels_are_those_of_the_librarys_pipeline(classifier: tuple[Path, Path]) -> None:
    files, made = classifier
    told = json.loads(run("classify", made, *TEXTS, "--json").stdout)
    for one, text, labels in zip(told, TEXTS, wanted(files), strict=True):
        assert (one["text"], list(one["probabilities"])) == (text, [label["label"] for label in labels])
        for label in labels:
            assert one["probabilities"][label["label"]] == pytest.approx(label["score"], abs=1e-4)
        assert one["score"] == one["probabilities"][one["label"]]


def test_a_label_and_its_percentage_are_printed(classifier: tuple[Path, Path]) -> None:
    files, made = classifier
    best, second, _ = wanted(files)[0]
    out = run("classify", made, TEXTS[0], "--top-k", "2").stdout.strip()
    assert out == f"{best['label']} ({best['score']:.2%}), {second['label']} ({second['score']:.2%})"


def test_texts_come_from_files_and_pipes_as_well(classifier: tuple[Path, Path], tmp_path: Path) -> None:
    _, made = classifier
    table = tmp_path / "reviews.tsv"
    table.write_text("label\tsentence\n" + "".join(f"0\t{text}\n" for text in TEXTS))
    by_argument = run("classify", made, *TEXTS)
    by_file = run("classify", made, "--file", table)
    assert by_file.stdout == by_argument.stdout
    assert [line.split("  ")[1] for line in by_file.stdout.splitlines()] == TEXTS
    assert "3 texts in" in by_file.stderr
    by_pipe = run("classify", made, typed="\n".join(TEXTS))
    assert by_pipe.stdout.splitlines() == [line.split("  ")[0] for line in by_file.stdout.splitlines()]


def test_a_tokenizer_can_be_given(classifier: tuple[Path, Path], tmp_path: Path) -> None:
    files, made = classifier
    manifest = json.loads((made / "manifest.json").read_text())
    moved = tmp_path / "moved"
    moved.mkdir()
    for member in made.iterdir():
        (moved / member.name).write_bytes(member.read_bytes())
    manifest["model"]["location"], manifest["tokenizer"] = "somebody/model", []
    (moved / "manifest.json").write_text(json.dumps(manifest))
    assert run("classify", moved, TEXTS[0], "--tokenizer", files).stdout == run("classify", made, TEXTS[0]).stdout
    with pytest.raises(InvalidInput, match="no tokenizer") as refused:
        run("classify", moved, TEXTS[0])
    assert "--tokenizer FOLDER" in refused.value.hint


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_other_runtimes_tell_the_same_labels(classifier: tuple[Path, Path], backend: str) -> None:
    files, made = classifier
    told = json.loads(run("classify", made, *TEXTS, "--backend", backend, "--model", files, "--json").stdout)
    for one, labels in zip(told, wanted(files), strict=True):
        assert (one["label"], one["score"]) == (labels[0]["label"], pytest.approx(labels[0]["score"], abs=1e-4))


def test_runtimes_are_told_side_by_side(classifier: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    files, made = classifier
    monkeypatch.setitem(runtimes.PACKAGES, "openvino", ("openvino_that_nobody_has",))
    told = json.loads(run("classify", made, *TEXTS, "--compare", "--model", files, "--idle-sec", 0, "--json").stdout)
    assert [row["backend"] for row in told] == ["torch", "tuned", "onnxruntime", "openvino"]
    assert told[3]["note"] == "not installed: pip install openvino_that_nobody_has"
    for row in told[:3]:
        assert row["note"] == ""
        assert row["labels"] == [labels[0]["label"] for labels in wanted(files)]
        assert (row["agreeing"], row["max_abs_error"]) == (3, pytest.approx(0.0, abs=1e-4))
        assert min(row["load_ms"], row["first_ms"], row["after_idle_ms"], row["steady"]["median_ms"]) > 0
        assert row["memory_bytes"] > 2**20
        assert len(row["steady"]["rounds_ms"]) == 10, "they take turns, as in every comparison"


def test_a_runtime_that_fails_is_a_row_that_says_why_and_the_others_go_on(
    classifier: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, made = classifier
    for runtime in ("onnxruntime", "openvino"):
        monkeypatch.setitem(runtimes.PACKAGES, runtime, ("no_package_has_this_name",))
    for file in files.iterdir():
        (tmp_path / file.name).write_bytes(b"\0" * 64 if file.suffix == ".safetensors" else file.read_bytes())
    told = json.loads(run("classify", made, *TEXTS, "--compare", "--model", tmp_path, "--idle-sec", 0, "--json").stdout)
    rows = {row["backend"]: row for row in told}
    assert "safetensors" in rows["torch"]["note"]
    assert rows["torch"]["steady"] is None
    assert (rows["tuned"]["note"], rows["tuned"]["agreeing"]) == ("", 3)


def test_what_gives_no_labels_is_refused(encoder: tuple[Path, Path]) -> None:
    with pytest.raises(InvalidInput, match="its head is encoder"):
        run("classify", encoder[1], "a city")


def test_vectors_are_pooled_over_a_texts_own_tokens(encoder: tuple[Path, Path], tmp_path: Path) -> None:
    files, made = encoder
    out = run("embed", made, *TEXTS, "--output", tmp_path / "vectors.npy")
    vectors = np.load(tmp_path / "vectors.npy")
    model, tokenizer = AutoModel.from_pretrained(files), AutoTokenizer.from_pretrained(files)
    for text, vector in zip(TEXTS, vectors, strict=True):
        rows = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(vector, (rows / rows.norm()).detach().numpy(), rtol=2e-3, atol=1e-4)
    pairs = [line.split("  ")[0] for line in out.stdout.splitlines()]
    assert pairs == [f"{vectors[a] @ vectors[b]:+.4f}" for a, b in ((0, 1), (0, 2), (1, 2))]


def test_artifacts_for_texts_take_turns_on_the_same_texts(encoder: tuple[Path, Path]) -> None:
    paths = {"one": str(encoder[1]), "other": str(encoder[1])}
    answer = answered("tuner.bench.in_turns_worker", (paths, 6), Limits(300.0, 2**33), StageFailed)
    result = spec.Result.model_validate(answer)
    assert [(timing.variant, timing.n) for timing in result.timings] == [("one", 6), ("other", 6)]
    assert all(timing.median_ms > 0 for timing in result.timings)


def test_vectors_are_printed_for_programs(encoder: tuple[Path, Path]) -> None:
    told = json.loads(run("embed", encoder[1], *TEXTS[:2], "--json", "--pooling", "cls").stdout)
    assert told["texts"] == TEXTS[:2]
    assert np.array(told["vectors"]).shape == (2, 32)
    assert told["similarities"][0][0] == pytest.approx(1.0)
