"""What an import takes is said before it is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiny_models import write_untrained
from tuner.errors import MemoryShort
from tuner.importers import memory
from tuner.importers.memory import check_memory, check_source, estimate_bytes, largest_batch, machine_bytes
from tuner.importers.presets import PRESETS
from tuner.importers.source import resolve_source

BASE = PRESETS["bert-base-uncased"].config
LARGE = {**BASE, "hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096, "num_attention_heads": 16}
GB = 10**9


def test_a_large_model_at_a_large_shape_is_refused_with_what_how_much_and_what_to_do() -> None:
    with pytest.raises(MemoryShort) as refused:
        check_memory("bert-large", LARGE, 1024, 512, 24 * GB)
    assert "bert-large at batch 1024 and sequence length 512 takes about 7" in refused.value.message
    assert "24.0 GB may be used" in refused.value.message
    fitting = largest_batch(LARGE, 1024, 512, 24 * GB)
    assert f"--batch {fitting} " in refused.value.hint
    assert "TUNER_IMPORT_MEMORY_BYTES" in refused.value.hint
    check_memory("bert-large", LARGE, fitting, 512, 24 * GB)
    with pytest.raises(MemoryShort):
        check_memory("bert-large", LARGE, fitting + 1, 512, 24 * GB)


def test_what_people_ask_for_fits_on_a_small_machine() -> None:
    for batch, seq_len in ((1, 128), (8, 128), (1, 512)):
        check_memory("bert-base-uncased", BASE, batch, seq_len, 4 * GB)


def test_where_even_one_sequence_is_too_much_shorter_ones_are_advised() -> None:
    with pytest.raises(MemoryShort) as refused:
        check_memory("bert-base-uncased", BASE, 4, 512, GB)
    assert refused.value.hint.startswith("Use shorter sequences")


@pytest.mark.parametrize(("smaller", "larger"), [((1, 128), (2, 128)), ((1, 128), (1, 256)), ((8, 512), (9, 512))])
def test_more_takes_more(smaller: tuple[int, int], larger: tuple[int, int]) -> None:
    assert estimate_bytes(BASE, *smaller) < estimate_bytes(BASE, *larger)


def test_other_families_name_their_sizes_otherwise() -> None:
    distil = PRESETS["distilbert-base-uncased"].config
    assert estimate_bytes(BASE, 1, 128) > estimate_bytes(distil, 1, 128) > estimate_bytes(BASE, 1, 128) / 2


def test_a_preset_a_folder_and_what_is_not_known_yet_are_told_apart(tmp_path: Path) -> None:
    write_untrained(tmp_path / "tiny")
    for name in ("bert-base-uncased", str(tmp_path / "tiny")):
        with pytest.raises(MemoryShort):
            check_source(resolve_source(name), 1, 32, 1)
    for name in ("some-org/model", "op:gemm:16,16,16"):
        check_source(resolve_source(name), 1024, 512, 1)


@pytest.mark.parametrize(
    ("said", "expected"), [("1000000000\n", GB), ("max\n", None), ("", None), ("9223372036854771712", None)]
)
def test_a_container_has_what_it_is_given(
    said: str, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text(said)
    monkeypatch.setattr(memory, "CGROUPS", (str(tmp_path / "none"),))
    physical = machine_bytes()
    monkeypatch.setattr(memory, "CGROUPS", (str(tmp_path / "memory.max"), str(tmp_path / "none")))
    assert machine_bytes() == (expected or physical)
    assert physical > GB // 2
