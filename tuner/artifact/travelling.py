"""What lies in an artifact beside library and parameters so that it runs where there is no TuneSmith: modules of ours.

The loader is one file there, whatever it is made of here: ``tar -xf bert.tar loader.py`` is all that anybody needs.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

_LOADER = ("members", "machine", "weights", "loader")  # each imports from those before it


def sources(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The text of each file, by its name."""
    found = {"loader.py": joined(*(_source(name) for name in _LOADER))}
    if manifest.get("texts"):
        found["texts.py"] = _source("texts")
    return found


def joined(*modules: str) -> str:
    """The source of one module that holds what all of them do, and has the last one's docstring.

    Imports stand at the head of each and are gathered at the head of the whole, but for those from this folder.
    """
    imports, bodies = dict[str, None](), []
    for text in modules:
        head = list(takewhile(_is_of_head, ast.parse(text).body))
        imports |= dict.fromkeys(ast.unparse(node) for node in head[1:] if not _is_ours(node))
        bodies.append("\n".join(text.splitlines()[head[-1].end_lineno :]).strip("\n"))
    docstring = ast.get_source_segment(text, head[0])
    return "\n\n".join([str(docstring), "\n".join(sorted(imports, key=_order)), "\n\n".join(bodies)]) + "\n"


def _is_of_head(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Expr, ast.Import, ast.ImportFrom))


def _is_ours(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{__package__}.")


def _order(line: str) -> tuple[bool, bool, str]:
    return not line.startswith("from __future__"), line.startswith("from"), line


def _source(name: str) -> str:
    return Path(__file__).with_name(f"{name}.py").read_text()
