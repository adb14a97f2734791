"""What an operator of a user's may consist of, as TVM's JSON graph: arithmetic on tensors in plain loops. Pure, no TVM.

TVM's own reader believes what it reads, and code it generates does what it was told: text linked in by a pragma, a call
by name, a store anywhere. So nothing gets to it that is not in these lists, which hold what ``te.create_prim_func``
writes for expressions of ``te`` and ``topi``. That loops end and that indices stay within their tensors is for
``tuner.importers.operators.bounds`` to see.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from tuner import strict_json
from tuner.errors import ModelInvalid

MAX_NODES = 50_000
MAX_SIZE = 500_000  # nodes when each is written out wherever it is used
MAX_DEPTH = 400

_NAME = re.compile(r"[A-Za-z0-9_.]{0,100}")
_DTYPES = ("float32", "int32", "int64", "bool")
_CALLS = frozenset(
    f"{dialect}.{name}"
    for dialect in ("prim", "tirx")
    for name in (
        "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "copysign", "cos", "cosh", "erf", "exp",
        "exp10", "exp2", "fabs", "floor", "fmod", "hypot", "if_then_else", "isfinite", "isinf", "isnan", "ldexp", "log",
        "log10", "log1p", "log2", "nearbyint", "nextafter", "pow", "round", "rsqrt", "sigmoid", "sin", "sinh", "sqrt",
        "tan", "tanh", "trunc",
    )
)  # fmt: skip
_FUNCTION_ATTRIBUTES = frozenset({"global_symbol", "layout_free_buffers", "s_tir", "tirx.noalias"})
_USUAL_MEMORY = (64, 1, "global")
_BLOCK_ANNOTATIONS = frozenset({"axis", "layout_free_placeholders", "schedule_rule"})  # te's and topi's; dropped
_PLAIN_LOOP, _BOUND_LOOP = 0, 4

_REF, _INT, _FLAG, _NUMBER = "ref", "int", "flag", "number"
_BINARY = ("ty", "a", "b")


def _of(*refs: str, **inline: str) -> dict[str, str]:
    return {"span": _REF, **dict.fromkeys(refs, _REF), **inline}


_FIELDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        **{
            f"prim.{name}": _of(*_BINARY)
            for name in (
                "Add", "Sub", "Mul", "Div", "Mod", "FloorDiv", "FloorMod", "Min", "Max",
                "EQ", "NE", "LT", "LE", "GT", "GE", "And", "Or",
            )
        },
        "prim.Not": _of("ty", "a"),
        "prim.Cast": _of("ty", "value"),
        "prim.Let": _of("ty", "var", "value", "body"),
        "prim.Select": _of("ty", "condition", "true_value", "false_value"),
        "ir.Call": _of("ty", "op", "args", "attrs", "ty_args"),
        "ir.DictAttrs": {"__dict__": _REF},
        "ir.FloatImm": _of("ty", value=_NUMBER),
        "ir.IntImm": _of("ty", "value"),
        "ir.Range": _of("min", "extent"),
        "ir.TensorLoad": _of("ty", "source", "indices"),
        "ir.TensorRegion": _of("ty", "source", "region"),
        "ir.TupleType": _of("fields"),
        "ir.Var": _of("ty", "name"),
        "relax.FuncType": _of("params", "ret", "derive_func", purity=_FLAG),
        "relax.ShapeType": _of("values", ndim=_INT),
        "relax.TensorType": _of("shape", "dtype", "vdevice", ndim=_INT),
        "relax.expr.ShapeExpr": _of("ty", "values"),
        "s_tir.SBlock": _of(
            "iter_vars", "reads", "writes", "name_hint", "alloc_buffers", "match_buffers", "annotations", "init", "body"
        ),
        "s_tir.SBlockRealize": _of("iter_values", "predicate", "block"),
        "tirx.BufferRegionType": _of(),
        "tirx.BufferStore": _of("buffer", "value", "indices"),
        "tirx.BufferType": _of(
            "dtype", "storage_scope", "shape", "strides", "elem_offset", "layout", "allocated_addr",
            data_alignment=_INT, offset_factor=_INT,
        ),
        "tirx.For": _of("loop_var", "min", "extent", "body", "thread_binding", "annotations", "step", kind=_INT),
        "tirx.IterVar": _of("dom", "var", "thread_tag", iter_type=_INT),
        "tirx.PrimFunc": _of("ty", "attrs", "params", "ret_type", "body"),
        "tirx.SeqStmt": _of("seq"),
    }
)  # fmt: skip
_LISTS = ("ffi.Array", "ffi.Map")


class _Refused(Exception):
    """Why the graph is not taken, as the end of a sentence."""


def checked(name: str, tir: str) -> str:
    """The graph of the operator ``name`` without what it says beside what it computes. Raises ModelInvalid when there
    is anything in it that is not listed here."""
    try:
        graph = _Graph(strict_json.parse(tir))
        graph.check()
        return graph.plain()
    except _Refused as reason:
        raise ModelInvalid(
            f"The operator {name} {reason}.",
            "Write it in arithmetic on tensors alone, as `te.create_prim_func` makes it; see docs/operators.md.",
        ) from None
    except ValueError:
        raise ModelInvalid(f"The operator {name} is not JSON.", "Send it with `tunesmith tune-op`.") from None


class _Graph:
    def __init__(self, graph: Any) -> None:
        if not isinstance(graph, dict) or not {"root_index", "nodes"} <= set(graph) <= {
            "root_index",
            "nodes",
            "metadata",
        }:
            raise _Refused("is no graph of TVM's")
        nodes, root = graph["nodes"], graph["root_index"]
        if not isinstance(nodes, list) or len(nodes) > MAX_NODES:
            raise _Refused(f"has more than {MAX_NODES:,} nodes")
        if type(root) is not int or root not in range(len(nodes)):
            raise _Refused("has no root")
        self._nodes, self._root = nodes, root

    def check(self) -> None:
        """Raise _Refused for the first thing that is not listed; what is scheduled or lowered is called that."""
        found = [node for node in self._nodes if isinstance(node, dict)]
        if not isinstance(self._nodes[self._root], dict) or self._type(self._root) != "tirx.PrimFunc":
            raise _Refused("is no function of TensorIR")
        loops = [node.get("data") for node in found if node.get("type") == "tirx.For"]
        if any(isinstance(loop, dict) and loop.get("kind") == _BOUND_LOOP for loop in loops):
            raise _Refused("has loops that are bound to threads already: finding a schedule is what tuning does")
        if not any(node.get("type") == "s_tir.SBlock" for node in found):
            raise _Refused("holds no blocks that a schedule could move")
        sizes: list[int] = []
        depths: list[int] = []
        for index, node in enumerate(self._nodes):
            children = list(self._children(index, node))
            sizes.append(1 + sum(sizes[child] for child in children))
            depths.append(1 + max((depths[child] for child in children), default=0))
            if sizes[-1] > MAX_SIZE or depths[-1] > MAX_DEPTH:
                raise _Refused(f"is too large: at most {MAX_SIZE:,} expressions, {MAX_DEPTH} deep")

    def plain(self) -> str:
        """The same function, its blocks without annotations."""
        for node in self._nodes:
            if node["type"] == "s_tir.SBlock":
                self._nodes[node["data"]["annotations"]]["data"] = []
        return json.dumps({"root_index": self._root, "nodes": self._nodes})

    def _children(self, index: int, node: Any) -> Iterator[int]:
        """What a node refers to: always what came before it. Raises _Refused for a node that is not listed."""
        if not isinstance(node, dict) or not set(node) <= {"type", "data"}:
            raise _Refused("holds something else than nodes")
        kind, data = node.get("type"), node.get("data")
        if not isinstance(kind, str):
            raise _Refused("holds a node of no type")
        if kind in _LISTS and isinstance(data, list):
            found = data
        elif kind in _FIELDS and isinstance(data, dict):
            found = self._fields(kind, data)
        else:
            _check_leaf(kind, data)
            found = []
        for child in found:
            if type(child) is not int or child not in range(index):
                raise _Refused("refers to a node that is not there")
            yield child
        if kind in _EXTRA and isinstance(data, dict):
            _EXTRA[kind](self, data)

    def _fields(self, kind: str, data: Mapping[str, Any]) -> list[Any]:
        wanted = _FIELDS[kind]
        if set(data) != set(wanted):
            raise _Refused(f"has a {kind} that is not TVM 0.27's")
        for name, form in wanted.items():
            value = data[name]
            if (form == _INT and type(value) is not int) or (form == _FLAG and type(value) is not bool):
                raise _Refused(f"has a {kind} with a strange {name}")
            if form == _NUMBER and type(value) not in (int, float):
                raise _Refused(f"has a {kind} with a strange {name}")
        return [data[name] for name, form in wanted.items() if form == _REF]

    def _type(self, index: int) -> str:
        return str(self._nodes[index].get("type"))

    def _text(self, index: int) -> str:
        return str(self._nodes[index].get("data"))

    def _keys(self, index: int) -> set[str]:
        """Keys of a map of attributes; of an absent one none."""
        if self._type(index) == "None":
            return set()
        if self._type(index) == "ir.DictAttrs":
            return self._keys(self._nodes[index]["data"]["__dict__"])
        if self._type(index) != "ffi.Map":
            raise _Refused("has attributes that are no map")
        return {self._text(key) for key in self._nodes[index]["data"][::2]}

    def _check_call(self, data: Mapping[str, Any]) -> None:
        if self._type(data["op"]) != "ir.Op":
            raise _Refused("calls another function")
        if self._keys(data["attrs"]):
            raise _Refused("calls a function with attributes")

    def _check_function(self, data: Mapping[str, Any]) -> None:
        if strange := self._keys(data["attrs"]) - _FUNCTION_ATTRIBUTES:
            raise _Refused(f"has the attribute {min(strange)}")

    def _check_block(self, data: Mapping[str, Any]) -> None:
        if strange := self._keys(data["annotations"]) - _BLOCK_ANNOTATIONS:
            raise _Refused(f"has the annotation {min(strange)}")
        if self._type(data["annotations"]) != "ffi.Map":
            raise _Refused("has a block without a map of annotations")
        if self._nodes[data["match_buffers"]].get("data"):
            raise _Refused("gives one tensor another's memory")

    def _check_loop(self, data: Mapping[str, Any]) -> None:
        if data["kind"] != _PLAIN_LOOP or self._type(data["step"]) != "None":
            raise _Refused("has a loop that is scheduled already")
        if strange := self._keys(data["annotations"]):
            raise _Refused(f"has the annotation {min(strange)}")

    def _check_buffer(self, data: Mapping[str, Any]) -> None:
        empty = all(not self._nodes[data[name]].get("data") for name in ("layout", "strides", "allocated_addr"))
        offset = self._nodes[data["elem_offset"]]
        at_start = offset["type"] == "ir.IntImm" and self._nodes[offset["data"]["value"]].get("data") == 0
        usual = (data["data_alignment"], data["offset_factor"], self._text(data["storage_scope"])) == _USUAL_MEMORY
        if not (empty and at_start and usual):
            raise _Refused("has a tensor that is not laid out plainly")


_EXTRA: Mapping[str, Callable[[_Graph, Mapping[str, Any]], None]] = MappingProxyType(
    {
        "ir.Call": _Graph._check_call,
        "tirx.PrimFunc": _Graph._check_function,
        "s_tir.SBlock": _Graph._check_block,
        "tirx.For": _Graph._check_loop,
        "tirx.BufferType": _Graph._check_buffer,
    }
)


def _check_leaf(kind: Any, data: Any) -> None:
    match kind:
        case "None" if data is None:
            return
        case "bool" if type(data) is bool:
            return
        case "int" if type(data) is int and abs(data) < 2**63:
            return
        case "ffi.String" if isinstance(data, str) and _NAME.fullmatch(data):
            return
        case "ir.Op" if isinstance(data, str) and data in _CALLS:
            return
        case "ir.PrimType" if isinstance(data, dict) and set(data) == {"span", "dtype"}:
            if data["dtype"] in _DTYPES and type(data["span"]) is int:
                return
            raise _Refused(f"computes in {str(data['dtype'])[:40]}")
        case "ir.Op":
            raise _Refused(f"calls {str(data)[:60]}")
    raise _Refused(f"holds a {str(kind)[:60]}")
