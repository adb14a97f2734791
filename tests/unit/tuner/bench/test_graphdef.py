"""A frozen graph of TensorFlow, with a TensorFlow that has as much as is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tuner.bench import graphdef


@dataclass
class Node:
    """Of a graph."""

    name: str
    op: str
    input: list[str] = field(default_factory=list)


BERT = [
    Node("serving_default_input_ids", "Placeholder"),
    Node("serving_default_attention_mask_1", "Placeholder"),
    Node("table", "Const"),
    Node("words", "GatherV2", ["table", "serving_default_input_ids"]),
    Node("seen", "Mul", ["words:0", "serving_default_attention_mask_1"]),
    Node("Identity", "Identity", ["seen"]),
    Node("init", "NoOp", ["^seen"]),
]


def test_its_outputs_are_what_nothing_takes() -> None:
    assert graphdef.ends(BERT) == ["Identity"]


def test_inputs_are_known_by_our_names_within_theirs() -> None:
    ours = ["input_ids", "attention_mask", "token_type_ids"]
    found = [graphdef.meant(node.name, ours) for node in BERT if node.op == "Placeholder"]
    assert found == ["input_ids", "attention_mask"]
    with pytest.raises(ValueError, match=r"wants an input 'pixels'.*token_type_ids"):
        graphdef.meant("pixels", ours)


def tensorflow_with(nodes: list[Node]) -> Any:
    """As far as the operators of a graph."""

    class GraphDef:
        node = nodes
        library = SimpleNamespace(function=[])

        def ParseFromString(self, content: bytes) -> None:  # the library's name
            if content != b"a graph":
                raise RuntimeError("wire type 7")

    return SimpleNamespace(compat=SimpleNamespace(v1=SimpleNamespace(GraphDef=GraphDef)))


def test_a_graph_that_reads_files_is_not_opened(tmp_path: Path) -> None:
    (file := tmp_path / "bert.pb").write_bytes(b"a graph")
    nodes = [*BERT, Node("spy", "ReadFile", ["table"]), Node("out", "WriteFile", ["spy", "spy"])]
    with pytest.raises(ValueError, match="not taken: ReadFile, WriteFile"):
        graphdef.opened(tensorflow_with(nodes), file)


def test_another_file_is_called_no_graph(tmp_path: Path) -> None:
    (file := tmp_path / "bert.pb").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"bert\.pb is no frozen graph"):
        graphdef.opened(tensorflow_with(BERT), file)
