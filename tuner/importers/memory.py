"""How much memory a model of a shape takes while it is imported and compared, said before any of it is spent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.errors import MemoryShort
from tuner.importers.folder import read_config
from tuner.importers.presets import PRESETS
from tuner.importers.source import ModelSource

# PyTorch's own parameters, those exported with the graph, and those prepared for the kernels.
COPIES_OF_PARAMETERS = 3
# What lives at once in one layer of an eager forward: the largest product beside its input and what is made of it.
LIVE_WIDE, LIVE_HIDDEN, LIVE_SCORES = 2, 6, 2
SAMPLES = 3  # sets of inputs whose outputs are kept
PROCESS_BYTES = 800_000_000  # TVM, PyTorch and the export itself
SHARE_OF_MACHINE = 0.75
_FLOAT = 4
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_memory(name: str, config: Mapping[str, Any], batch: int, seq_len: int, limit_bytes: int | None) -> None:
    """Refuse a shape that takes more memory than ``limit_bytes``, or, without one, than this machine has to spare.

    ``config`` is the model's Hugging Face configuration. Raises MemoryShort.
    """
    most = limit_bytes if limit_bytes is not None else int(SHARE_OF_MACHINE * machine_bytes())
    needed = estimate_bytes(config, batch, seq_len)
    if needed <= most:
        return
    fitting = largest_batch(config, batch, seq_len, most)
    hint = f"Use --batch {fitting} or less, or shorter sequences" if fitting else "Use shorter sequences"
    raise MemoryShort(
        f"{name} at batch {batch} and sequence length {seq_len} takes about {needed / 1e9:.1f} GB of memory to import "
        f"and to compare with PyTorch; {most / 1e9:.1f} GB may be used.",
        f"{hint}; TUNER_IMPORT_MEMORY_BYTES says how much may be used.",
    )


def config_of(source: ModelSource, folder: Path | None) -> Mapping[str, Any]:
    """The configuration of a model in its folder, or of a preset that has none. Raises ModelInvalid."""
    return read_config(folder) if folder else PRESETS[source.name].config


def check_source(source: ModelSource, batch: int, seq_len: int, limit_bytes: int | None) -> None:
    """``check_memory`` of a model whose configuration lies here; of one on the hub nothing is known before it came.

    Operators are bounded by their catalog. Raises MemoryShort or ModelInvalid.
    """
    if source.source in ("preset", "folder"):
        check_memory(source.name, config_of(source, source.folder), batch, seq_len, limit_bytes)


def estimate_bytes(config: Mapping[str, Any], batch: int, seq_len: int) -> int:
    """Parameters as often as they are held, and what lives at once in one layer of the reference's forward."""
    hidden, layers = _number(config, "hidden_size", "dim"), _number(config, "num_hidden_layers", "n_layers")
    wide, heads = _number(config, "intermediate_size", "hidden_dim"), _number(config, "num_attention_heads", "n_heads")
    tokens = batch * seq_len
    table = _number(config, "vocab_size") + _number(config, "max_position_embeddings")
    parameters = table * hidden + layers * (4 * hidden * hidden + 2 * hidden * wide) + hidden * hidden
    in_a_layer = tokens * (LIVE_WIDE * wide + LIVE_HIDDEN * hidden) + LIVE_SCORES * batch * heads * seq_len * seq_len
    outputs = SAMPLES * tokens * hidden
    return PROCESS_BYTES + _FLOAT * (COPIES_OF_PARAMETERS * parameters + in_a_layer + outputs)


def largest_batch(config: Mapping[str, Any], batch: int, seq_len: int, most_bytes: int) -> int:
    """The largest batch below that one which fits; 0 when none does."""
    low, high = 0, batch
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if estimate_bytes(config, middle, seq_len) <= most_bytes else (low, middle)
    return low


def machine_bytes() -> int:
    """The machine's memory, or its container's share of it."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *(found for path in CGROUPS if (found := _limit_in(Path(path))))])


def _limit_in(path: Path) -> int:
    """Bytes that a control group may use; 0 when it says nothing of it."""
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _number(config: Mapping[str, Any], *names: str) -> int:
    """The first of these that the configuration has; what it does not say is checked by whoever builds the network."""
    return next((value for name in names if isinstance(value := config.get(name), int) and value > 0), 0)
