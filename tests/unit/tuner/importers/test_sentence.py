"""What a sentence-transformers folder asks for: both layouts are read alike, and what is not computed is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.sentence_models import NEW, OLD, TANH, write_json
from tests.support.tiny_models import CONFIGS, write_untrained
from tuner.errors import ModelInvalid, TunerError
from tuner.importers.folder import model_files
from tuner.importers.sentence import Dense, Norm, Normalize, Pooling, is_sentence_model, read_sentence
from tuner.importers.snapshot import bring
from tuner.importers.source import resolve_source

ENCODER = (f"{OLD}.Transformer", "", None)
MEAN = (f"{OLD}.Pooling", "1_Pooling", {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True})


def dense(**fields: Any) -> tuple[str, str, Any]:
    return (f"{OLD}.Dense", "2_Dense", {"in_features": 32, "out_features": 4} | fields)


def write(folder: Path, *modules: tuple[str, str, Any]) -> Path:
    write_untrained(folder)
    listed = [{"idx": n, "name": str(n), "path": where, "type": kind} for n, (kind, where, _) in enumerate(modules)]
    write_json(folder / "modules.json", listed)
    for _, where, config in modules:
        if config is not None:
            write_json(folder / where / "config.json", config)
    return folder


def test_old_and_new_layouts_mean_the_same(tmp_path: Path) -> None:
    dense = {"in_features": 64, "out_features": 8, "bias": True, "activation_function": TANH}
    flags = {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}
    old = write(
        tmp_path / "old",
        ENCODER,
        (f"{OLD}.Pooling", "1_Pooling", {"word_embedding_dimension": 32} | flags),
        (f"{OLD}.Dense", "2_Dense", dense),
        (f"{OLD}.Normalize", "3_Normalize", None),
    )
    new = write(
        tmp_path / "new",
        (f"{NEW}.Transformer", "", None),
        (f"{NEW}.Pooling", "1_Pooling", {"embedding_dimension": 32, "pooling_mode": ["cls", "max"]}),
        ("sentence_transformers.base.modules.dense.Dense", "2_Dense", dense),
        (f"{NEW}.Normalize", "3_Normalize", {"module_input_name": "sentence_embedding"}),
    )
    steps = (Pooling(("cls", "max")), Dense("2_Dense", 64, 8, True, "tanh", False), Normalize())
    assert read_sentence(old).steps == read_sentence(new).steps == steps


def test_what_does_nothing_is_left_out(tmp_path: Path) -> None:
    dropout = (f"{OLD}.Dropout", "2_Dropout", {"dropout": 0.1})
    norm = (f"{OLD}.LayerNorm", "3_LayerNorm", {"dimension": 32})
    found = read_sentence(write(tmp_path, ENCODER, MEAN, dropout, norm))
    assert found.steps == (Pooling(("mean",)), Norm("3_LayerNorm", 32))


def test_the_head_and_the_longest_text_are_the_folders(tmp_path: Path) -> None:
    folder = write(tmp_path, ENCODER, MEAN)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": True})
    prompts = {"query": "query: ", "passage": ""}
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": "query"})
    found = resolve_source(str(folder))
    assert (found.head, found.max_seq_len) == ("sentence-embedding", 20)
    plain = resolve_source(str(folder), head="encoder")
    assert (plain.head, plain.max_seq_len) == ("encoder", CONFIGS["bert"]["max_position_embeddings"])
    about = {"max_seq_length": 20, "do_lower_case": True, "prompts": prompts, "default_prompt_name": "query"}
    assert read_sentence(folder).about == about


def test_files_of_modules_are_the_models(tmp_path: Path) -> None:
    folder = write(tmp_path, ENCODER, MEAN)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    names = [str(file.relative_to(folder)) for file in model_files(folder, False)]
    assert names == ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json"]


def test_a_reranker_of_the_library_keeps_its_own_head(tmp_path: Path) -> None:
    folder = write(tmp_path, ("sentence_transformers.base.modules.transformer.Transformer", "", None))
    write_json(folder / "config.json", CONFIGS["bert"] | {"architectures": ["BertForSequenceClassification"]})
    assert not is_sentence_model(folder)
    assert resolve_source(str(folder)).head == "sequence-classification"


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ([ENCODER, (f"{OLD}.CNN", "1_CNN", {}), MEAN], "a module CNN, which is not computed"),
        ([ENCODER, MEAN, ("modeling_own.Tail", "2_Tail", {})], "modeling_own.Tail, code of the model's own"),
        ([ENCODER, (MEAN[0], "../elsewhere", None)], "'../elsewhere', which is no module's folder"),
        ([(ENCODER[0], "0_Transformer", {}), MEAN], "begins with Transformer in '0_Transformer'"),
        ([ENCODER, (f"{OLD}.Normalize", "1_Normalize", None)], "has no Pooling right behind"),
        ([ENCODER, MEAN, (MEAN[0], "2_Pooling", {})], "has no Pooling right behind"),
        ([ENCODER, (MEAN[0], "1_Pooling", {"pooling_mode": "attention"})], "pooling_mode 'attention'"),
        ([ENCODER, (MEAN[0], "1_Pooling", {"include_prompt": False})], "include_prompt False"),
        ([ENCODER, (MEAN[0], "1_Pooling", {"pooling_mode_own": True})], "pooling_mode_own True"),
        ([ENCODER, MEAN, dense(in_features=0)], "in_features 0"),
        ([ENCODER, MEAN, dense(activation_function="os.system")], "activation_function 'os.system'"),
        ([ENCODER, MEAN, (f"{OLD}.Normalize", "2_Normalize", {"module_input_name": "x"})], "module_input_name 'x'"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(tmp_path: Path, modules: list[Any], said: str) -> None:
    with pytest.raises(ModelInvalid) as refusal:
        resolve_source(str(write(tmp_path, *modules)))
    assert said in refusal.value.message


def test_what_is_found_of_a_folder_serves_jobs_of_every_head(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", ENCODER, MEAN)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 20})
    longest = {}
    for head in (None, "encoder", "sentence-embedding"):
        source = resolve_source(str(folder), head=head)
        done = bring(source, tmp_path / "sources").complete(source)
        longest[head] = (done.head, done.max_seq_len)
    embedding, positions = ("sentence-embedding", 20), CONFIGS["bert"]["max_position_embeddings"]
    assert longest == {None: embedding, "encoder": ("encoder", positions), "sentence-embedding": embedding}
    assert len(list((tmp_path / "sources").glob("src-*"))) == 1


def test_modules_that_are_not_computed_keep_nobody_from_the_encoder(tmp_path: Path) -> None:
    source = resolve_source(str(write(tmp_path / "model", ENCODER, MEAN, ("own.Tail", "2_Tail", {}))), head="encoder")
    assert bring(source, tmp_path / "sources").complete(source).head == "encoder"


def test_a_folder_without_modules_has_no_such_head(tmp_path: Path) -> None:
    with pytest.raises(TunerError, match=r"has no modules\.json"):
        resolve_source(str(write_untrained(tmp_path)), head="sentence-embedding")
