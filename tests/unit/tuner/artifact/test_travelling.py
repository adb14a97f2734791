"""What travels with an artifact runs by itself: one file for the loader, whatever modules it is made of."""

from __future__ import annotations

import ast
from collections import Counter

from tuner.artifact import travelling

LOWER = '"""Words."""\n\nfrom __future__ import annotations\n\nimport os\n\nWORD = os.sep\n'
UPPER = (
    '"""Says a word.\n\nTwice."""\n\nfrom __future__ import annotations\n\nimport json\nimport os\n\n'
    "from tuner.artifact.lower import WORD\n\n# Why.\nSAID = json.dumps([WORD, os.sep])\n"
)


def test_joined_modules_are_one_that_needs_no_other() -> None:
    text = travelling.joined(LOWER, UPPER)
    assert text == (
        '"""Says a word.\n\nTwice."""\n\nfrom __future__ import annotations\nimport json\nimport os\n\n'
        "WORD = os.sep\n\n# Why.\nSAID = json.dumps([WORD, os.sep])\n"
    )
    module: dict[str, object] = {}
    exec(compile(text, "joined", "exec"), module)
    assert module["SAID"] == '["/", "/"]'


def test_only_an_artifact_for_texts_has_a_second_file() -> None:
    assert set(travelling.sources({"batch": 1})) == {"loader.py"}
    assert set(travelling.sources({"texts": {"longest": 512}})) == {"loader.py", "texts.py"}


def test_parts_of_the_loader_name_nothing_alike_and_import_nothing_of_ours() -> None:
    """What one part names the next would replace."""
    tree = ast.parse(travelling.sources({})["loader.py"])
    named = Counter[str]()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            named[node.name] += 1
        elif isinstance(node, ast.Assign):
            targets = [leaf for target in node.targets for leaf in ast.walk(target)]
            named.update(leaf.id for leaf in targets if isinstance(leaf, ast.Name))
    assert {name for name, times in named.items() if times > 1} == set()
    assert {"ArtifactError", "Runner", "load", "misfit"} <= set(named)
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in modules if name.startswith(("tuner", "rpc"))]
