"""Loading, the plain form of a network, and its export: right on padded batches, and importable by TVM."""

from __future__ import annotations

import functools
import json
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.export import ExportedProgram
from transformers import AutoConfig, AutoModelForMaskedLM
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from tests.support.model_files import in_place
from tests.support.tiny_made import tiny_model
from tests.support.tiny_models import CONFIGS, write_config_only, write_model
from tuner.errors import MemoryShort, ModelInvalid, SequenceTooLong
from tuner.graph.known import VALUE, importers, known
from tuner.importers import cache, deberta, huggingface
from tuner.importers.comparison import compare
from tuner.importers.faithful import check_faithful
from tuner.importers.huggingface import LoadedModel, load_torch
from tuner.importers.presets import PRESETS, Preset
from tuner.importers.pytorch import export
from tuner.importers.reference import reference_outputs, sample_inputs
from tuner.importers.taken import importable
from tuner.importers.wrapper import variant

BATCH, SEQ_LEN = 3, 20
Exported = Callable[[str], tuple[LoadedModel, ExportedProgram]]


def load(folder: Path, **options: object) -> LoadedModel:
    return load_torch(in_place(str(folder), **options))  # type: ignore[arg-type]


@functools.cache
def loaded_of(kind: str, head: str) -> LoadedModel:
    """A tiny model, loaded once."""
    wanted_head = {"head": head} if head == "masked-lm" else {}  # which is left out unless it is asked for
    return load(tiny_model(kind, head), **wanted_head)


def padded_inputs(loaded: LoadedModel) -> dict[str, np.ndarray]:
    """Rows of 20, 7 and 1 tokens, padded on the right, with two segments where the family has them."""
    generator = np.random.default_rng(0)
    lengths = np.array([20, 7, 1])
    mask = (np.arange(SEQ_LEN)[None, :] < lengths[:, None]).astype(np.int32)
    ids = generator.integers(5, 90, (BATCH, SEQ_LEN), dtype=np.int32)
    ids = np.where(mask == 1, ids, loaded.config["pad_token_id"]).astype(np.int32)
    segments = (np.arange(SEQ_LEN)[None, :] >= lengths[:, None] // 2).astype(np.int32) * mask
    named = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
    return {name: named[name] for name in loaded.input_names}


HEADS = ["encoder", "sequence-classification", "token-classification", "question-answering"]
HEADS += ["multiple-choice", "masked-lm"]
NOT_THERE = [("nomic_bert", "question-answering"), ("nomic_bert", "multiple-choice")]  # the library has none


@pytest.mark.parametrize(("kind", "head"), [pair for pair in product(CONFIGS, HEADS) if pair not in NOT_THERE])
def test_plain_form_equals_the_library_on_padded_batches(kind: str, head: str) -> None:
    loaded = loaded_of(kind, head)
    assert loaded.weights == "pretrained"
    assert loaded.source.head == head
    inputs = padded_inputs(loaded)
    got = reference_outputs(loaded, inputs)
    eager = variant(loaded, "eager")
    with torch.inference_mode():
        wanted = eager(*(torch.from_numpy(inputs[name]) for name in loaded.input_names))
    seen = inputs["attention_mask"] == 1
    for value, tensor in zip(got.values(), wanted, strict=True):
        want = tensor.numpy()
        per_token = value.shape[:2] == seen.shape
        np.testing.assert_allclose(value[seen] if per_token else value, want[seen] if per_token else want, atol=2e-5)


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_padding_does_not_change_what_is_seen(kind: str) -> None:
    loaded = loaded_of(kind, "encoder")
    inputs = padded_inputs(loaded)
    whole = reference_outputs(loaded, inputs)["last_hidden_state"][1, :7]
    alone = reference_outputs(loaded, {name: value[1:2, :7] for name, value in inputs.items()})["last_hidden_state"][0]
    np.testing.assert_allclose(whole, alone, atol=2e-5)


def test_baselines_share_parameters_but_not_the_attention() -> None:
    loaded = loaded_of("bert", "encoder")
    eager, sdpa = variant(loaded, "eager"), variant(loaded, "sdpa")
    assert {p.data_ptr() for p in eager.parameters()} == {p.data_ptr() for p in sdpa.parameters()}
    attentions = [module.network.config._attn_implementation for module in (eager, sdpa, loaded.module)]
    assert attentions == ["eager", "sdpa", "sdpa"]


ARITHMETIC = {"aten.add.Tensor", "aten.sub.Tensor", "aten.mul.Tensor", "aten.tanh.default"}
MOVEMENT = {"view", "permute", "clone", "unsqueeze", "embedding", "select", "_to_copy", "arange", "full_like", "expand"}
MOVEMENT |= {"reshape", "transpose", "to", "dropout", "zeros_like", "permute", "contiguous"}  # until taken apart
CHECKS = {"aten._assert_tensor_metadata.default"}
WHOLE = {f"aten.{name}.default" for name in ("scaled_dot_product_attention", "gelu", "layer_norm", "linear")}
OF_ITS_OWN = ("modernbert", "nomic_bert", "deberta-v2")  # what attention sees of positions


@pytest.mark.parametrize("kind", [kind for kind in CONFIGS if kind not in OF_ITS_OWN])
def test_export_keeps_operators_whole_and_nothing_else(exported: Exported, kind: str) -> None:
    operators, layers = operators_of(exported(kind)[1], kind)
    assert operators["aten.scaled_dot_product_attention.default"] == layers
    assert operators["aten.gelu.default"] == layers
    assert operators["aten.layer_norm.default"] == 2 * layers + 1
    assert operators["aten.linear.default"] in range(6 * layers, 6 * layers + 3)
    assert {name for name in operators if name.split(".")[1] not in MOVEMENT} <= ARITHMETIC | WHOLE | CHECKS
    assert operators["aten.mul.Tensor"] == 1, "the mask is made once, not in each layer"


@pytest.mark.parametrize("kind", OF_ITS_OWN)
def test_export_keeps_attention_and_norms_whole_whatever_positions_are(exported: Exported, kind: str) -> None:
    operators, layers = operators_of(exported(kind)[1], kind)
    assert operators["aten.scaled_dot_product_attention.default"] == layers
    assert operators["aten.layer_norm.default"] in (2 * layers + 1, 2 * layers + 2)
    assert not {f"aten.{name}" for name in ("erf.default", "rsqrt.default", "softmax.int")} & set(operators)


@pytest.fixture(scope="module")
def exported() -> Exported:
    """A tiny model of a kind and its export, made once."""

    @functools.cache
    def make(kind: str) -> tuple[LoadedModel, ExportedProgram]:
        loaded = loaded_of(kind, "encoder")
        return loaded, importable(export(loaded, BATCH, SEQ_LEN))

    return make


@pytest.mark.parametrize("computed", [lambda value: 3 - value, lambda value: (value + 1).mul_(2)])
def test_what_the_importer_may_take_otherwise_is_taken_apart(computed: Callable[[torch.Tensor], torch.Tensor]) -> None:
    class Own(torch.nn.Module):
        def forward(self, value: torch.Tensor) -> torch.Tensor:
            return computed(value)

    program = importable(torch.export.export(Own(), (torch.ones(2, 3),), strict=False))
    assert not {"aten.rsub.Scalar", "aten.mul_.Tensor"} & {str(node.target) for node in program.graph.nodes}


def test_what_is_made_of_nothing_is_known_when_it_is_imported() -> None:
    class Own(torch.nn.Module):
        def forward(self, value: torch.Tensor) -> torch.Tensor:
            places = torch.arange(3)
            places += torch.full((3,), 2)
            places += torch.where(places > 3, 1, 0)
            return value * places + torch.rand(3)

    program = importable(torch.export.export(Own(), (torch.ones(2, 3),), strict=False))
    values = [node.meta[VALUE].tolist() for node in program.graph.nodes if node.target is known]
    assert values == [[2, 3, 5]]
    assert "aten.rand.default" in {str(node.target) for node in program.graph.nodes}, "it is another one each time"


def operators_of(program: ExportedProgram, kind: str) -> tuple[Counter[str], int]:
    """Operators of a model's export, counted, and how many layers it has."""
    layers = CONFIGS[kind].get("num_hidden_layers") or CONFIGS[kind]["n_layers"]
    called = (node.target for node in program.graph.nodes if node.op == "call_function" and node.target is not known)
    return Counter(map(str, called)), layers


def test_export_refuses_a_sequence_over_the_maximum() -> None:
    with pytest.raises(SequenceTooLong, match="at most 64"):
        export(loaded_of("bert", "encoder"), 1, 65)


@pytest.mark.parametrize(
    "kind", ["bert", "distilbert", "roberta", "albert", "deberta-v2", "modernbert", "mpnet", "nomic_bert"]
)
def test_tvm_computes_the_same_from_the_export(exported: Exported, kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tvm's own, at import
        import tvm
        from tvm import relax
        from tvm.relax.frontend.torch import from_exported_program

    loaded, program = exported(kind)
    module = from_exported_program(program, custom_convert_map=importers(), run_ep_decomposition=False)
    machine = relax.VirtualMachine(tvm.compile(module, target=tvm.target.Target("llvm")), tvm.cpu())
    inputs = padded_inputs(loaded)
    result = machine["main"](*(tvm.runtime.tensor(inputs[name]) for name in loaded.input_names))
    got = {name: value.numpy() for name, value in zip(loaded.output_names, result, strict=True)}
    outcome = compare(got, reference_outputs(loaded, inputs))
    assert outcome.ok, outcome


def test_untrained_preset_repeats_with_its_seed_and_depends_on_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nonexistent")
    monkeypatch.setattr("tuner.importers.huggingface.PRESETS", {"tiny": Preset("tiny", "org/tiny", CONFIGS["bert"])})
    monkeypatch.setattr("tuner.importers.source.PRESETS", {"tiny": Preset("tiny", "org/tiny", CONFIGS["bert"])})
    first, again, other = (load_torch(in_place("tiny"), seed) for seed in (1, 1, 2))
    assert {first.weights, again.weights} == {"random"}
    inputs = padded_inputs(first)
    outputs = [reference_outputs(loaded, inputs)["last_hidden_state"] for loaded in (first, again, other)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[0] - outputs[2]).max() > 0.1
    assert 0.3 < outputs[0].std() < 3.0
    changed = inputs | {"input_ids": inputs["input_ids"].copy()}
    changed["input_ids"][0, 19] = 4
    shift = np.abs(reference_outputs(first, changed)["last_hidden_state"] - outputs[0])
    assert shift[0, 0].max() > 1e-3, "attention carries a change of the last token to the first"
    assert shift[1].max() == 0.0


def test_presets_build_the_networks_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    millions = {}
    with torch.device("meta"):
        from transformers import AutoModel

        for name, preset in PRESETS.items():
            values = dict(preset.config)
            network = AutoModel.from_config(AutoConfig.for_model(values.pop("model_type"), **values))
            millions[name] = round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1)
    assert millions == {"bert-base-uncased": 109.5, "distilbert-base-uncased": 66.4, "minilm-l6": 22.7}


def test_sharded_and_pickled_weights_load_the_same(tmp_path: Path) -> None:
    whole = loaded_of("bert", "encoder")
    sharded_folder = write_model(tmp_path / "sharded", shard_size="20KB")
    assert (sharded_folder / "model.safetensors.index.json").exists()
    sharded = load(sharded_folder)
    pickled = load(write_model(tmp_path / "pickled", pickle=True), allow_pickle=True)
    inputs = padded_inputs(whole)
    outputs = [reference_outputs(loaded, inputs)["last_hidden_state"] for loaded in (whole, sharded, pickled)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])


def test_checkpoint_without_pooler_has_no_pooled_output(tmp_path: Path) -> None:
    values = dict(CONFIGS["bert"])
    AutoModelForMaskedLM.from_config(AutoConfig.for_model(values.pop("model_type"), **values)).save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert (loaded.output_names, loaded.weights) == (("last_hidden_state",), "pretrained")


def test_untrained_head_is_marked_random_and_repeats_with_its_seed() -> None:
    source = in_place(str(tiny_model()), head="sequence-classification")
    first, again = load_torch(source, 3), load_torch(source, 3)
    assert (first.weights, first.output_names) == ("random", ("logits",))
    assert "classifier" in first.note
    inputs = padded_inputs(first)
    np.testing.assert_array_equal(
        reference_outputs(first, inputs)["logits"], reference_outputs(again, inputs)["logits"]
    )


def test_weights_that_lack_a_layer_are_refused(tmp_path: Path) -> None:
    file = write_model(tmp_path) / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(file).items() if "layer.1." not in name}
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelInvalid, match=r"encoder\.layer\.1"):
        load(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    write_config_only(folder, CONFIGS["bert"] | {"intermediate_size": 128})
    with pytest.raises(ModelInvalid, match=r"another shape .*intermediate\.dense\.bias: \[\d+\] instead of \[128\]"):
        load(folder)


def test_an_import_that_would_take_more_memory_than_it_may_loads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("memory was taken")

    fetched = in_place(str(tiny_model()))
    monkeypatch.setattr(huggingface, "load_torch", fail)
    with pytest.raises(MemoryShort, match="batch 2 and sequence length 16"):
        cache.import_source(fetched, cache.Shape(2, 16), tmp_path / "imports", memory_bytes=1000)


def test_weights_that_nothing_uses_are_refused(tmp_path: Path) -> None:
    file = write_model(tmp_path) / "model.safetensors"
    stored = load_file(file) | {"encoder.layer.0.attention.self.distance_embedding.weight": torch.zeros(3, 8)}
    save_file(stored, file, metadata={"format": "pt"})
    with pytest.raises(ModelInvalid, match=r"used by nothing .*distance_embedding"):
        load(tmp_path)


def test_prefix_that_hides_all_weights_is_shown(tmp_path: Path) -> None:
    file = write_model(tmp_path) / "model.safetensors"
    stored = {f"_orig_mod.{name}": tensor for name, tensor in load_file(file).items()}
    save_file(stored, file, metadata={"format": "pt"})
    with pytest.raises(ModelInvalid, match=r"lack .* first embeddings\..*, which has _orig_mod\.embeddings\."):
        load(tmp_path)


@pytest.mark.parametrize("kind", ["distilbert", "roberta", "electra", "deberta-v2", "modernbert", "mpnet"])
def test_classifier_of_a_base_has_random_weights(kind: str) -> None:
    loaded = load(tiny_model(kind), head="sequence-classification")
    assert (loaded.weights, loaded.output_names) == ("random", ("logits",))
    assert check_faithful(loaded, SEQ_LEN)["cases"][0] == "full"


@pytest.mark.parametrize("kind", [kind for kind in CONFIGS if (kind, "multiple-choice") not in NOT_THERE])
def test_an_encoder_is_taken_from_a_checkpoint_for_multiple_choice(kind: str) -> None:
    loaded = load(tiny_model(kind, "multiple-choice"), head="encoder")
    assert (loaded.weights, loaded.output_names[0]) == ("pretrained", "last_hidden_state")


def test_what_a_classifiers_outputs_mean_is_known_of_it(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "bert", "sequence-classification")
    config = json.loads((folder / "config.json").read_text())
    names = {"0": "NO", "1": "YES", "2": "MAYBE"}
    write_config_only(folder, config | {"id2label": names, "problem_type": "multi_label_classification"})
    about = load(folder).about
    assert (about["id2label"], about["num_labels"]) == (names, 3)
    assert about["problem_type"] == "multi_label_classification"
    assert load(folder, head="encoder").about == {}


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "modernbert"])
def test_a_form_that_computes_something_else_is_refused(kind: str) -> None:
    loaded = load(tiny_model(kind))
    if kind == "modernbert":
        loaded.module.network.config.sliding_window = 1
    else:
        loaded.module.first_position = 0
    with pytest.raises(ModelInvalid, match="would not be compiled as the library computes it"):
        check_faithful(loaded, 48)


@pytest.mark.parametrize(("count", "furthest"), [(256, 512), (8, 64), (32, 128), (320, 512)])
def test_debertas_buckets_are_the_librarys(count: int, furthest: int) -> None:
    distance = np.arange(furthest)[:, None] - np.arange(furthest)[None, :]
    want = make_log_bucket_position(torch.from_numpy(distance), count, furthest).to(torch.int64)
    np.testing.assert_array_equal(deberta.buckets(distance, count, furthest), want.numpy())


def test_deberta_multiplies_with_no_more_positions_than_a_length_meets() -> None:
    program = export(loaded_of("deberta-v2", "encoder"), 2, 4)
    products = [node for node in program.graph.nodes if str(node.target) == "aten.matmul.default"]
    assert {tuple(node.meta["val"].shape) for node in products} == {(4, 8, 16)}, "distances from -3 to 3, a vector"


def test_a_tokenizer_that_knows_more_than_the_model_is_said_and_harms_no_import(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text(vocabulary.read_text() + "harbour\nyears\n")
    loaded = load(folder)
    size = CONFIGS["bert"]["vocab_size"]
    assert loaded.tokenizer is not None
    assert len(loaded.tokenizer) > size
    assert f"knows {len(loaded.tokenizer)} tokens, the model {size}" in loaded.note
    assert loaded.weights == "pretrained"
    samples = sample_inputs(loaded, 4, 48)
    assert max(int(inputs["input_ids"].max()) for inputs in samples) == size - 1
    assert all(np.isfinite(reference_outputs(loaded, inputs)["last_hidden_state"]).all() for inputs in samples)
