"""The command line against the real web application, with a finished, a running and a failed job in its database."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import platform
import re
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from sqlmodel import Session

from tests.support import seed_db, tiny_artifact
from tests.support.uploading import MODEL
from tests.support.web import Web, serve
from tuner.cli import main, sending
from tuner.db.engine import write
from tuner.db.models import Artifact, Job

DONE, RUNNING, FAILED = "job-a1b2c3d4e5", "job-f00dcafe42", "job-0bad0bad00"

LEGACY_LOG = Path(__file__).parents[1] / "support" / "data" / "swish_gemm_m1_gpu.ansor.json"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with serve(tmp_path / "data") as web:
        with write(web.engine) as session:
            seed_db.everything(session)
        yield web


@pytest.fixture
def tunesmith(web: Web, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command against the service: exit code, stdout, stderr."""
    monkeypatch.setenv("TUNER_URL", web.url)
    monkeypatch.setenv("TUNER_TOKEN", web.token)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tunesmith", *map(str, arguments)])
        code = 0
        try:
            main.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def put_file(web: Web, content: bytes) -> str:
    """Gives the finished job's artifact a file; its id."""
    with write(web.engine) as session:
        artifact = artifact_of_done(session)
        artifact.size_bytes, artifact.sha256 = len(content), hashlib.sha256(content).hexdigest()
        path, artifact_id = web.settings.artifacts_dir / artifact.path, artifact.id
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return artifact_id


def put_module(web: Web, members: dict[str, bytes]) -> str:
    """Gives the finished job's artifact a tar with a library, and perhaps its source, that no Mac has run; its id."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    artifact_id = put_file(web, buffer.getvalue())
    library, *source = members
    with write(web.engine) as session:
        artifact_of_done(session).manifest = {
            "library": library,
            **({"source": source[0]} if source else {}),
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
            "load_check": "symbols",
            "tested": "not load-tested on a Mac",
        }
    return artifact_id


def artifact_of_done(session: Session) -> Artifact:
    job = session.get(Job, DONE)
    assert job is not None
    artifact = session.get(Artifact, job.artifact_id)
    assert artifact is not None
    return artifact


def test_submitted_job_is_listed_shown_and_cancelled(tunesmith: Command) -> None:
    code, out, _ = tunesmith("tune", "minilm-l6", "--trials", 64, "--json")
    job = json.loads(out)
    assert (code, job["state"], job["budget"]["trials"]) == (0, "submitted", 64)
    assert job["id"] in tunesmith("jobs")[1]
    assert job["id"] not in tunesmith("jobs", "--state", "succeeded")[1]
    assert "minilm-l6" in tunesmith("show", job["id"])[1]
    assert tunesmith("cancel", job["id"])[0] == 0
    assert json.loads(tunesmith("show", job["id"], "--json")[1])["wish"] == "cancel"


def test_show_has_the_comparison_and_the_workloads(tunesmith: Command) -> None:
    code, out, _ = tunesmith("show", DONE)
    assert code == 0
    for text in ("succeeded", "PyTorch eager", "TVM tuned", "GFLOPS", "float32[128,768]"):
        assert text in out


def test_kernels_are_shown_slowest_first_each_with_how_it_was_chosen(tunesmith: Command, web: Web) -> None:
    rows = json.loads(tunesmith("show", DONE, "--kernels", "--json")[1])
    gelu, softmax = (next(one["workload_id"] for one in rows if name in one["name"]) for name in ("gelu", "softmax"))
    told = {gelu: "measured: record 0f0f", softmax: "guessed: model of the core"}
    assert [row["chosen"] for row in rows] == [None] * len(rows)  # the manifest of an earlier release
    with write(web.engine) as session:
        artifact = artifact_of_done(session)
        schedules = [{"workload": name, "by": by} for name, by in told.items()]
        artifact.manifest = artifact.manifest | {"schedules": [*schedules, {"kernel": "of-old", "by": "plain"}]}
    rows = json.loads(tunesmith("show", DONE, "--kernels", "--json")[1])
    assert {row["workload_id"]: row["chosen"] for row in rows if row["chosen"]} == told
    code, out, _ = tunesmith("show", DONE, "--kernels")
    lines = [line for line in out.splitlines() if line.startswith("fused_")]
    assert (code, len(lines), "PyTorch" in out) == (0, len(rows), False)
    assert lines[0].startswith("fused_matmul_gelu")
    assert all(text in lines[0] for text in ("13,900 us", "1,382 us", "measured: record 0f0f"))


def test_follow_of_a_finished_job_ends_with_its_verdict(tunesmith: Command) -> None:
    code, out, err = tunesmith("follow", DONE)
    assert code == 0
    assert "bert-base-uncased runs in" in out
    assert f"tunesmith download {DONE}" in err


def test_follow_of_a_failed_job_is_exit_code_1(tunesmith: Command) -> None:
    code, out, err = tunesmith("follow", FAILED)
    assert code == 1
    assert "failed" in out
    assert "hint:" in err


def test_interrupted_follow_leaves_the_job_and_says_how_to_go_on(
    tunesmith: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tuner.cli.jobs.watch", interrupted)
    code, _, err = tunesmith("follow", RUNNING)
    assert code == 130
    assert f"tunesmith cancel {RUNNING}" in err
    assert json.loads(tunesmith("show", RUNNING, "--json")[1])["wish"] == ""


def test_pause_and_resume_take_back_each_other(tunesmith: Command) -> None:
    assert "pause" in tunesmith("pause", RUNNING)[2]
    assert tunesmith("resume", RUNNING)[0] == 0


def test_a_comparison_is_had_as_a_picture_and_as_a_table(web: Web, tunesmith: Command, tmp_path: Path) -> None:
    with write(web.engine) as session:
        artifact_id, job_id = artifact_of_done(session).id, artifact_of_done(session).job_id
    for thing, form in ((job_id, "svg"), (artifact_id, "csv")):
        assert tunesmith("download", thing, "--format", form, "-o", str(tmp_path))[0] == 0
    picture = ElementTree.parse(tmp_path / f"{job_id}.svg").getroot()
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert "51.3 ms" in (tmp_path / f"{job_id}.svg").read_text()
    rows = list(csv.DictReader((tmp_path / f"{job_id}.csv").read_text().splitlines()))
    assert [(row["variant"], row["median_ms"]) for row in rows[:2]] == [("onnxruntime-int8", "41.2"), ("tuned", "51.3")]
    assert {row["model"] for row in rows} == {"bert-base-uncased"}
    code, _, said = tunesmith("download", "job-f00dcafe42", "--format", "svg", "-o", str(tmp_path))
    assert (code, "has not timed its module" in said) == (1, True)


def test_a_device_of_the_fleet_runs_the_artifact_in_a_file(web: Web, tunesmith: Command, tmp_path: Path) -> None:
    with write(web.engine) as session:
        artifact_id = artifact_of_done(session).id
    (folder := tmp_path / "made").mkdir()
    (folder / "manifest.json").write_text(json.dumps({"id": artifact_id}))
    with tarfile.open(tmp_path / "made.tar", "w") as tar:
        tar.add(folder / "manifest.json", "manifest.json")
    for file in (folder, tmp_path / "made.tar"):
        code, _, said = tunesmith("check", str(file), "--on", "lab-7", "--timeout", "1")
        assert (code, f"{artifact_id} is still to be checked on lab-7" in said) == (1, True)
    code, _, said = tunesmith("run", str(folder), "--on", "nonesuch")
    assert (code, "nonesuch" in said) == (1, True)
    assert tunesmith("run", str(folder), "--on", "lab-7", "--text", "hello")[0] == 2
    (tmp_path / "no.tar").write_bytes(b"nothing")
    assert "can't be read as an artifact" in tunesmith("run", str(tmp_path / "no.tar"), "--on", "lab-7")[2]


def test_history_tells_what_a_model_came_to(tunesmith: Command) -> None:
    _, printed, _ = tunesmith("history", "bert-base-uncased")
    assert "51.3 ms" in printed
    (point,) = json.loads(tunesmith("history", "bert-base-uncased", "--json")[1])
    assert (point["median_ms"], point["baseline_ms"], point["change"]) == (51.3, 134.2, None)
    assert "yet" in tunesmith("history", "minilm-l6")[2]


def test_jobs_are_compared_and_their_modules_timed_in_turns(
    tunesmith: Command, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_DATA_DIR", str(tmp_path / "mine"))
    second_id = "job-5ec0ad0000"
    tar = tiny_artifact.pack(tiny_artifact.build(tmp_path / "made"), tmp_path / "made.tar").read_bytes()
    put_file(web, tar)
    with write(web.engine) as session:
        done = session.get(Job, DONE)
        assert done is not None
        session.add(Job(**done.model_dump() | {"id": second_id, "seq_len": 64}))
    code, out, err = tunesmith("compare", DONE, second_id)
    assert code == 0, err
    assert "different shapes: 1 x 128; 1 x 64." in out
    assert "51.3 ms" in out
    assert "--timed" in err
    timed = json.loads(tunesmith("compare", DONE, second_id, "--timed", "--rounds", 6, "--json")[1])["timed"]
    assert [(one["variant"], one["n"]) for one in timed] == [(DONE, 30), (second_id, 30)]
    assert "as fast as" in tunesmith("compare", DONE, second_id, "--timed", "--rounds", 6)[1]
    code, _, err = tunesmith("compare", DONE, RUNNING)
    assert (code, f"{RUNNING} has not ended" in err) == (1, True)


def test_running_job_is_not_deleted_and_the_way_is_named(tunesmith: Command) -> None:
    code, _, err = tunesmith("delete", RUNNING)
    assert code == 1
    assert "hint:" in err
    assert "cancel" in err
    assert tunesmith("delete", FAILED)[0] == 0
    assert tunesmith("show", FAILED)[0] == 1


def test_unknown_job_is_one_error_line(tunesmith: Command) -> None:
    code, out, err = tunesmith("show", "job-nope")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert "job-nope" in err


def test_download_then_run(tunesmith: Command, web: Web, tmp_path: Path) -> None:
    tar = tiny_artifact.pack(tiny_artifact.build(tmp_path / "built"), tmp_path / "built.tar")
    artifact_id = put_file(web, tar.read_bytes())
    target = tmp_path / "mine.tar"
    assert tunesmith("download", DONE, "-o", target)[0] == 0
    assert target.read_bytes() == tar.read_bytes()
    assert tunesmith("download", artifact_id, "-o", tmp_path)[0] == 0
    assert (tmp_path / f"{artifact_id}.tar").exists()

    x = np.ones((2, 4), dtype="float32")
    np.savez(tmp_path / "in.npz", x=x)
    code, out, err = tunesmith("run", target, "--runs", 5, "--inputs", tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    assert code == 0, err
    assert "y  float32[2, 3]" in out
    assert "over 5 runs" in out
    with np.load(tmp_path / "out.npz") as outputs:
        np.testing.assert_allclose(outputs["y"], x @ tiny_artifact.WEIGHT + tiny_artifact.BIAS, rtol=1e-5)


def test_runs_are_told_as_tvmc_told_them(tunesmith: Command, tmp_path: Path) -> None:
    folder, out = tiny_artifact.build(tmp_path / "built"), tmp_path / "out.npz"
    took = ("--fill-mode", "ones", "--outputs", out, "--print-time", "--repeat", 4, "--number", 3, "--device", "cpu")
    code, told, err = tunesmith("run", folder, *took)
    assert code == 0, err
    assert re.search(r"^loaded in [\d.]+ ms, first call [\d.]+ ms$", told, re.MULTILINE)
    assert re.search(r"^Mean inference time \(std dev\): [\d.]+ ms \([\d.]+ ms\)$", told, re.MULTILINE)
    assert re.search(r"over 4 runs\nmin [\d.]+  max [\d.]+ ms", told)
    with np.load(out) as outputs:
        np.testing.assert_allclose(outputs["y"], [tiny_artifact.WEIGHT.sum(0) + tiny_artifact.BIAS] * 2, rtol=1e-5)
    told = [json.loads(tunesmith("run", folder, "--fill-mode", "random", "--json")[1]) for _ in range(2)]
    assert told[0]["latency"]["min_ms"] <= told[0]["latency"]["mean_ms"] <= told[0]["latency"]["max_ms"]
    assert tunesmith("run", folder, "--fill-mode", "noise")[0] == 2
    code, _, err = tunesmith("run", folder, "--device", "metal")
    assert (code, "runs on cpu, not on metal" in err) == (1, True)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"kind": "llvm", "mtriple": "riscv64-unknown-linux-gnu"}, "compiled for riscv64, this machine is"),
        ({"kind": "llvm", "mtriple": f"{platform.machine()}-apple-macos"}, "compiled for darwin, this machine runs"),
    ],
)
def test_run_of_an_artifact_for_another_machine_says_so(
    tunesmith: Command, tmp_path: Path, target: dict[str, str], says: str
) -> None:
    folder = tiny_artifact.build(tmp_path / "foreign")
    tiny_artifact.write_manifest(folder, target=target)
    code, _, err = tunesmith("run", folder)
    assert code == 1
    assert says in err
    assert "hint:" in err


def test_download_goes_on_from_its_part(tunesmith: Command, web: Web, tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    put_file(web, content)
    (tmp_path / f"a.tar.{hashlib.sha256(content).hexdigest()[:12]}.part").write_bytes(content[:7000])
    assert tunesmith("download", DONE, "-o", tmp_path / "a.tar")[0] == 0
    assert (tmp_path / "a.tar").read_bytes() == content


@pytest.mark.parametrize(
    ("form", "name", "content"),
    [("so", "art.so", b"\xcf\xfa"), ("dylib", "art.dylib", b"\xcf\xfa"), ("source", "art.metal", b"kernel void f()")],
)
def test_download_gives_a_part_of_the_artifact(
    tunesmith: Command, web: Web, tmp_path: Path, form: str, name: str, content: bytes
) -> None:
    artifact_id = put_module(web, {"lib.dylib": b"\xcf\xfa", "source.metal": b"kernel void f()"})
    code, _, err = tunesmith("download", DONE, "--format", form, "-o", tmp_path)
    assert code == 0, err
    assert (tmp_path / name.replace("art", artifact_id)).read_bytes() == content
    assert "not load-tested on a Mac" in err


def test_artifacts_are_listed_with_how_far_they_were_tested(tunesmith: Command, web: Web) -> None:
    artifact_id = put_module(web, {"lib.dylib": b"\xcf\xfa"})
    code, out, _ = tunesmith("artifacts")
    assert (code, artifact_id in out, "not load-tested on a Mac" in out) == (0, True, True)
    assert json.loads(tunesmith("artifacts", "--job", DONE, "--json")[1])["total"] == 1
    assert f"no artifact of {FAILED}" in tunesmith("artifacts", "--job", FAILED)[2]


def test_download_in_a_format_there_is_not_says_so(tunesmith: Command, web: Web) -> None:
    put_module(web, {"lib.so": b"\x7fELF"})
    code, _, err = tunesmith("download", DONE, "--format", "dylib")
    assert (code, "not for macOS" in err) == (1, True)
    code, _, err = tunesmith("download", DONE, "--format", "exe")
    assert (code, "tar, so, dylib, source" in err) == (2, True)


def test_download_of_a_file_that_is_gone_says_what_to_do(tunesmith: Command) -> None:
    code, _, err = tunesmith("download", DONE)
    assert code == 1
    assert "gone" in err
    assert "hint:" in err


def test_a_path_that_can_not_be_written_is_refused_by_name(tunesmith: Command, web: Web, tmp_path: Path) -> None:
    put_file(web, b"an artifact")
    (tmp_path / "file").write_text("")
    code, _, err = tunesmith("download", DONE, "-o", tmp_path / "file" / "bert.tar")
    assert code == 1
    assert f"{tmp_path}/file" in err.splitlines()[-2]
    assert "hint:" in err.splitlines()[-1]


def test_job_without_an_artifact_says_why(tunesmith: Command) -> None:
    code, _, err = tunesmith("download", RUNNING)
    assert code == 1
    assert "has no artifact: it is tuning" in err


def test_records_go_out_and_come_back(tunesmith: Command, tmp_path: Path) -> None:
    log = tmp_path / "records.jsonl"
    assert tunesmith("records", "export", "-o", log, "--job", DONE)[0] == 0
    lines = log.read_text().splitlines()
    assert lines
    log.write_text("\n".join([*lines, "{damaged"]) + "\n")
    counts = json.loads(tunesmith("records", "import", log, "--json")[1])
    assert (counts["imported"], counts["duplicates"], counts["skipped"]) == (0, len(lines), 1)


def test_a_log_of_ansor_is_summed_up(tunesmith: Command) -> None:
    code, out, err = tunesmith("records", "import", LEGACY_LOG)
    assert (code, "873" in out, "22 imported" in err) == (0, True, True)
    assert "jobs of op:swish_gemm:128,3072,768 start from the best of its 18 schedules" in " ".join(err.split())


@pytest.mark.parametrize("given", [("gemm", 8, 16, 32), ("op:gemm:8,16,32",), ('{"op": "gemm", "args": [8, 16, 32]}',)])
def test_an_operator_is_submitted_by_any_of_its_spellings(tunesmith: Command, given: tuple[object, ...]) -> None:
    code, _, err = tunesmith("tune-op", *given, "--trials", 8)
    assert (code, "op:gemm:8,16,32" in err) == (0, True)
    assert "op:gemm:8,16,32" in tunesmith("jobs")[1]


def test_a_function_of_ones_own_is_built_here_and_sent(tunesmith: Command, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from tvm import te\n"
        "def twice(n):\n"
        "    a = te.placeholder((n,), name='a')\n"
        "    return [a, te.compute((n,), lambda i: a[i] * 2.0, name='out')]\n"
    )
    code, _, err = tunesmith("tune-op", f"{file}:twice", 64, "--trials", 8)
    assert (code, "twice-" in err) == (0, True)
    assert "twice-" in tunesmith("jobs")[1]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("gem", 1, 2, 3), "Did you mean"),
        (("gemm", 1, 2), "positive whole numbers"),
        (("op:gemm:1,2,3", 4), "in it already"),
        (("gemm", 1, 2, 3, "--constant", 1), "--constant"),
        (("absent.py:f", 1), "no file"),
    ],
)
def test_a_wrong_operator_is_one_error_with_a_hint(tunesmith: Command, given: tuple[object, ...], says: str) -> None:
    code, _, err = tunesmith("tune-op", *given)
    assert (code, says in err) == (1, True), err


def test_import_of_an_absent_log_is_named(tunesmith: Command, tmp_path: Path) -> None:
    code, _, err = tunesmith("records", "import", tmp_path / "absent.jsonl")
    assert code == 1
    assert "absent.jsonl can't be read" in err


def test_models_targets_and_devices_are_listed(tunesmith: Command) -> None:
    assert tunesmith("models", "add", "distilbert-base-uncased")[0] == 0
    assert "distilbert-base-uncased" in tunesmith("models", "list")[1]
    listed = tunesmith("targets")[1]
    assert "device local, online" in listed
    assert "peak 530 GFLOPS, 42 GB/s, measured" in listed
    assert "device m1-metal, not there" in listed
    assert "metal, apple-m1, arm64-apple-macos, .dylib, 4 performance cores" in listed
    assert "peak 2,617 GFLOPS, 68.3 GB/s, computed" in listed
    assert "threadgroup of at most 256 threads, 32 KiB" in listed
    assert "local" in tunesmith("devices")[1]


def test_tokens_are_made_listed_and_ended(tunesmith: Command, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = tunesmith("token", "new", "guest", "--scope", "read")
    assert (code, len(out.split())) == (0, 1)
    assert "nobody can be told it again" in err
    assert out.strip() not in err
    code, listed, _ = tunesmith("token", "list")
    assert [word in listed for word in ("guest", "read", out.strip())] == [True, True, False]
    assert tunesmith("token", "new", "guest")[0] == 1
    monkeypatch.setenv("TUNER_TOKEN", out.strip())
    assert tunesmith("jobs")[0] == 0
    code, _, err = tunesmith("cancel", RUNNING)
    assert (code, "needs a token for `submit`" in err) == (1, True)
    assert tunesmith("token", "list")[0] == 1
    monkeypatch.setenv("TUNER_TOKEN", web.token)
    assert tunesmith("token", "revoke", "guest")[0] == 0
    assert "There is no token named guest." in tunesmith("token", "revoke", "guest")[2]
    monkeypatch.setenv("TUNER_TOKEN", out.strip())
    code, _, err = tunesmith("jobs")
    assert (code, "is not known here" in err, out.strip() in err) == (1, True, False)


@pytest.mark.parametrize(
    ("arguments", "says"), [(("not a name",), "NAME: "), (("ci", "--scope", "root"), "--scope: Input should be 'read'")]
)
def test_a_token_that_can_not_be_is_refused_by_name(tunesmith: Command, arguments: tuple[str, ...], says: str) -> None:
    code, _, err = tunesmith("token", "new", *arguments)
    assert code == 1
    assert f"error: {says}" in err


def test_a_command_without_a_token_is_told_where_to_find_one(
    tunesmith: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNER_TOKEN")
    code, _, err = tunesmith("jobs")
    assert (code, "TUNER_TOKEN" in err, "tunesmith token new" in err) == (1, True, True)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my-bert"
    folder.mkdir()
    for name, content in {**MODEL, "README.md": b"hello"}.items():
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_that_the_service_sees_is_used_where_it_lies(tunesmith: Command, model_folder: Path) -> None:
    code, out, err = tunesmith("tune", model_folder, "--trials", 1, "--json")
    assert (code, json.loads(out)["model"]) == (0, str(model_folder)), err
    assert json.loads(tunesmith("uploads", "list", "--json")[1])["items"] == []


def test_a_folder_that_the_service_can_not_see_is_uploaded(
    tunesmith: Command, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "whereabouts", lambda: "another machine")
    code, out, err = tunesmith("tune", model_folder, "--trials", 1, "--json")
    job = json.loads(out)
    assert code == 0, err
    assert job["model"].startswith("upload:my-bert-")
    assert "left out: README.md" in err
    name = job["model"].removeprefix("upload:")
    _, listed, _ = tunesmith("uploads", "list")
    assert name in listed
    assert "complete" in listed
    assert "model.safetensors" in tunesmith("uploads", "show", name)[1]
    code, _, err = tunesmith("uploads", "delete", name)
    assert (code, f"tunesmith cancel {job['id']}" in err) == (1, True)
    again = json.loads(tunesmith("tune", model_folder, "--trials", 1, "--json")[1])
    assert again["model"] == job["model"]
    added = json.loads(tunesmith("models", "add", model_folder, "--json")[1])
    assert added["name"] == job["model"]


def test_an_upload_is_sent_used_later_and_deleted(tunesmith: Command, model_folder: Path) -> None:
    assert "no uploads" in tunesmith("uploads", "list")[2]
    _, _, err = tunesmith("uploads", "send", model_folder)
    name = err.rstrip().rpartition("upload:")[2]
    assert f"tunesmith tune upload:{name}" in err
    assert tunesmith("tune", f"upload:{name}", "--compile-only")[0] == 0
    assert tunesmith("cancel", json.loads(tunesmith("jobs", "--limit", 1, "--json")[1])["items"][0]["id"])[0] == 0
    other = model_folder.with_name("other")
    shutil.copytree(model_folder, other)
    (other / "vocab.txt").write_text("more")
    other_name = json.loads(tunesmith("uploads", "send", other, "--json")[1])["name"]
    assert tunesmith("uploads", "delete", other_name)[0] == 0
    assert tunesmith("uploads", "show", other_name)[0] == 1


def test_pickles_alone_are_not_sent(tunesmith: Command, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "config.json").write_bytes(MODEL["config.json"])
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    code, _, err = tunesmith("uploads", "send", folder)
    assert (code, "save_file" in err) == (1, True)
    code, _, err = tunesmith("uploads", "send", folder, "--allow-pickle")
    assert (code, "TUNER_ALLOW_PICKLE_UPLOADS" in err) == (1, True)
