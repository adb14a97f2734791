"""Whatever others send or lay down is taken or refused in words: no importer fails at it in another way.

A few examples each, always the same; `make fuzz` tries as many as one likes, others each time.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from api.form_file import FormFile
from tests.support import databases, foreign
from tests.support.rest import talking_to
from tuner import strict_json
from tuner.artifact import loader
from tuner.artifact.weights import Weights
from tuner.config import Settings
from tuner.db.engine import make_engine
from tuner.db.log_line import entry_of
from tuner.db.metaschedule import BESIDE as ABOUT
from tuner.db.metaschedule import RECORDS, WORKLOADS
from tuner.errors import ModelInvalid, TunerError, UploadInvalid
from tuner.importers.operators import allowed, catalog, files
from tuner.importers.sentence import read_sentence
from tuner.importers.source import resolve_source
from tuner.kernels import traces
from tuner.legacy import store, transform
from tuner.legacy.ansor import parse_line
from tuner.schemas import ImportOut, OperatorIn
from tuner.targets import presets

DATA = Path(__file__).parents[1] / "support" / "data"
OPERATOR = json.loads((DATA / "scaled.tir.json").read_text())
ANSOR = (DATA / "swish_gemm_m1_gpu.ansor.json").read_bytes().splitlines()[0]
TRACE: list[Any] = [
    [
        ["GetSBlock", [], ["matmul", "main"], ["b0"]],
        ["GetLoops", ["b0"], [], ["l1", "l2"]],
        ["SamplePerfectTile", ["l1"], [2, 64], ["v3", "v4"]],
        ["Split", ["l1", "v3", "v4"], [True, False], ["l5", "l6"]],
        ["CacheRead", ["b0", ["b0"]], [0, "shared"], ["b9"]],
        ["Annotate", ["b0", '"SSRSRS"'], ["meta_schedule.tiling_structure"], []],
    ],
    [[2, [4, 16]]],
]
LINE = {
    "v": 1,
    "workload": {"id": "wl-0123456789abcdef", "name": "matmul", "summary": "x", "flops": 1.0, "tir": '{"nodes":[]}'},
    "record": {
        "trace": [TRACE, None, {"kind": "llvm"}, [["TENSOR", "float32", [8, 8]]]],
        "run_secs": [1e-3, 2e-3],
        "target": {"kind": "llvm", "mcpu": "znver4"},
        "target_family": "llvm-x86_64-znver4-2c",
        "device": "local",
        "candidate": "0123456789abcdef",
        "mean_sec": 1.5e-3,
        "evaluator": {"number": 1},
        "created_at": "2026-01-01T00:00:00Z",
    },
}
BESIDE = {
    "workload": {"name": "matmul", "summary": "x", "flops": 1.0, "weight_bytes": 0},
    "record": {"target": {"kind": "llvm"}, "target_family": "llvm", "candidate": "c", "error_class": ""},
}
CONFIG = {
    "model_type": "roberta",
    "architectures": ["RobertaForSequenceClassification"],
    "max_position_embeddings": 514,
    "pad_token_id": 1,
}
INDEX = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
MODULES = [
    {"path": where, "type": f"sentence_transformers.models.{kind}"}
    for kind, where in (("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"))
]
POOLING = {"word_embedding_dimension": 8, "pooling_mode_cls_token": True}
DENSE = {"in_features": 8, "out_features": 4, "bias": True, "activation_function": "torch.nn.modules.activation.Tanh"}
PROMPTS = {"prompts": {"query": "q: "}, "default_prompt_name": "query"}
TARGET = {
    "kind": "metal",
    "max_threads_per_block": 512,
    "host": {"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": "apple-m1", "mattr": ["+neon"], "num-cores": 4},
}


def _safetensors(header: Any) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(16)


WEIGHTS = _safetensors({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}})


def _archives() -> list[bytes]:
    packed, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("database_tuning_record.json", json.dumps([0, LINE["record"]["trace"]]) + "\n")  # type: ignore[index]
        tir = base64.b64encode(bytes(8) + b'{"nodes":[]}').decode()
        archive.writestr("database_workload.json", json.dumps(["81985529216486895", tir]) + "\n")
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"), io.BytesIO())
    return [packed.getvalue(), tarred.getvalue()]


LINES = [
    (json.dumps(LINE) + "\n").encode() * 2,
    ANSOR + b"\n" + json.dumps(LINE).encode(),
    json.dumps([0, LINE["record"]["trace"]]).encode(),  # type: ignore[index]
    json.dumps({"input": ["llvm", "matmul", [], {}], "config": {}, "result": [[1], 0, 1, 1], "version": 0.2}).encode(),
    *_archives(),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("foreign")


@pytest.fixture(scope="module")
def settings(root: Path) -> Settings:
    settings = Settings(data_dir=root / "data", database_url=None)
    databases.create(settings)
    return settings


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Iterator[Engine]:
    engine = make_engine(settings)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def client(settings: Settings, engine: Engine) -> Iterator[TestClient]:
    with talking_to(settings) as client:
        yield client


@given(foreign.texts(LINE))
def test_json(text: str) -> None:
    value = foreign.attempt(ValueError, strict_json.parse, text)
    assert strict_json.parse(json.dumps(value, allow_nan=False)) == value


@given(foreign.texts(LINE).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_a_line_of_our_log(line: bytes) -> None:
    if entry := foreign.attempt(ValueError, entry_of, line):
        json.dumps([entry.workload, entry.record], default=str, allow_nan=False, ensure_ascii=False).encode()


@given(foreign.texts(json.loads(ANSOR)).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_a_line_of_ansors_log(line: bytes) -> None:
    if record := foreign.attempt(ValueError, parse_line, line):
        assert record.target_kind
        assert (record.mean_sec is None) == bool(record.error_class)


@given(foreign.damaged(json.loads(ANSOR)["i"][1][1]))
def test_steps_of_ansor(steps: Any) -> None:
    foreign.attempt(ValueError, transform.parse_steps, steps)


@given(foreign.damaged(TRACE) | foreign.JSON)
def test_a_trace(trace: Any) -> None:
    foreign.attempt(ValueError, traces.check, trace)


@given(foreign.files(*LINES))
def test_a_log_of_any_form(engine: Engine, content: bytes) -> None:
    if told := foreign.attempt(UploadInvalid, store.import_file, engine, io.BytesIO(content), 2**20):
        assert ImportOut.model_validate_json(told.model_dump_json()) == told


@given(
    foreign.damaged([0, LINE["record"]["trace"]]), foreign.damaged(["1", "AAAAAAAAAAB7fQ=="]), foreign.damaged(BESIDE)
)  # type: ignore[index]
def test_an_archive_of_metaschedule(engine: Engine, record: Any, workload: Any, beside: Any) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, value in ((RECORDS, record), (WORKLOADS, workload), (ABOUT, beside)):
            archive.writestr(name, json.dumps(value, allow_nan=True) + "\n")
    packed.seek(0)
    out = foreign.attempt(UploadInvalid, store.import_file, engine, packed)
    assert out is None or isinstance(out, ImportOut)


@given(foreign.texts(OPERATOR))
def test_an_operator_that_is_sent(tir: str) -> None:
    if plain := foreign.attempt(ModelInvalid, allowed.checked, "mine", tir):
        assert allowed.checked("mine", plain) == plain


@given(foreign.texts({"name": "mine", "tir": "{}", "constants": [1]}))
def test_an_operators_file(root: Path, text: str) -> None:
    path = root / f"mine{files.SUFFIX}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert foreign.attempt(ModelInvalid, files.read, path) is None


@given(foreign.texts({"op": "gemm", "args": [1, 2, 3]}))
def test_an_operator_by_name(text: str) -> None:
    for spelling in ("{" + text[1:], f"{catalog.PREFIX}{text}", f"{catalog.PREFIX}gemm:{text}"):
        foreign.attempt(TunerError, catalog.parse, spelling)


@given(foreign.texts(CONFIG), foreign.texts(INDEX), foreign.spoilt(WEIGHTS), st.booleans())
def test_the_files_of_a_model(root: Path, config: str, index: str, weights: bytes, sharded: bool) -> None:
    folder = root / "model"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(config.encode("utf-8", "surrogatepass"))
    (folder / "model.safetensors.index.json").write_bytes(index.encode("utf-8", "surrogatepass"))
    for name in ("model.safetensors", "model-1.safetensors", "model-2.safetensors"):
        (folder / name).write_bytes(weights)
    if sharded:
        (folder / "model.safetensors").unlink()
    if source := foreign.attempt(TunerError, resolve_source, str(folder)):
        assert source.max_seq_len is None or 0 <= source.max_seq_len < 2**31


@given(foreign.texts(MODULES), foreign.texts(POOLING), foreign.texts(DENSE), foreign.texts(PROMPTS))
def test_the_modules_of_a_sentence_model(root: Path, listed: str, pooling: str, dense: str, prompts: str) -> None:
    folder = root / "sentence"
    named = {"modules.json": listed, "1_Pooling/config.json": pooling, "2_Dense/config.json": dense}
    for name, text in (named | {"config_sentence_transformers.json": prompts}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    if found := foreign.attempt(TunerError, read_sentence, folder):
        assert found.steps


@given(foreign.texts(TARGET))
def test_a_target(text: str) -> None:
    for spelling in (text, "{" + text[1:]):
        if found := foreign.attempt(TunerError, presets.resolve, spelling, "local"):
            assert json.dumps(found.tvm, allow_nan=False, ensure_ascii=False).encode()


def _artifact() -> bytes:
    members = {
        "lib.so": b"library",
        "params.safetensors": _safetensors({"p0": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
    }
    sums = {name: hashlib.sha256(held).hexdigest() for name, held in members.items()}
    manifest = {"library": "lib.so", "params": ["p0"], "threads": 1, "files": sums, "target": {"kind": "llvm"}}
    members["manifest.json"] = json.dumps(manifest).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, held in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(held)
            tar.addfile(member, io.BytesIO(held))
    return packed.getvalue()


class Opened:
    """In place of a module that runs: what it would be made of."""

    def __init__(self, manifest: dict[str, Any], library: Any, weights: Weights | None) -> None:
        self.params = weights.arrays() if weights else {}


@given(foreign.spoilt(_artifact()))
def test_an_artifact(root: Path, content: bytes) -> None:
    path = root / "artifact.tar"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "Runner", Opened)
        for name in ("TVM_NUM_THREADS", "TVM_BIND_THREADS"):
            patch.setenv(name, "1")
        foreign.attempt(loader.ArtifactError, loader.load, path)


FORM = (
    b'--bound\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    b'--bound\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n{}\r\n--bound--\r\n'
)


@given(foreign.spoilt(b"multipart/form-data; boundary=bound"), foreign.spoilt(FORM), st.integers(1, 100))
def test_a_form(content_type: bytes, body: bytes, step: int) -> None:
    taken: list[bytes] = []

    def send() -> None:
        form = FormFile(content_type.decode("latin-1"), taken.append)
        for start in range(0, len(body), step):
            form.feed(body[start : start + step])
        form.finish()

    foreign.attempt(UploadInvalid, send)
    assert sum(map(len, taken)) <= len(body)


@pytest.mark.parametrize(
    ("route", "good"),
    [
        ("/v1/operators", {"name": "mine", "tir": json.dumps(OPERATOR), "constants": [1]}),
        ("/v1/jobs", {"model": "op:gemm:8,8,8", "target": json.dumps(TARGET), "budget": {"trials": 8}}),
        ("/v1/models", {"model": "bert-base-uncased"}),
    ],
)
@given(data=st.data())
def test_a_body(client: TestClient, route: str, good: dict[str, Any], data: st.DataObject) -> None:
    body = data.draw(foreign.texts(good)).encode("utf-8", "surrogatepass")
    answer = client.post(route, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (201, 400, 422), answer.text
    answer.json()


@given(foreign.files(*LINES), foreign.spoilt(b"multipart/form-data; boundary=bound") | st.just(b"application/gzip"))
def test_an_upload(client: TestClient, content: bytes, content_type: bytes) -> None:
    header = bytes(byte for byte in content_type if 32 <= byte < 127)
    answer = client.post("/v1/records/import", content=content, headers={b"content-type": header})
    assert answer.status_code in (200, 422), answer.text


def test_operators_that_are_taken_are_stored_and_read_back(tmp_path: Path) -> None:
    operator = OperatorIn(name="mine", tir=json.dumps(OPERATOR))
    stored = files.read(files.write(tmp_path, operator))
    assert (stored.name, stored.tir) == ("mine", allowed.checked("mine", operator.tir))
