"""Streams a product's constant operand ahead of its use, so that its kernel does not wait for memory.

A model's weights come from memory at each inference. A panel of them is read while its first block of rows is computed
and lies in the second-level cache for all the others; what a processor fetches by itself does not keep that first block
busy. So each block of rows also asks for its part of the *next* panel, a few cache lines at a time. In the innermost
loop that would keep LLVM from holding the sums in registers; between stretches of it, it costs a few loads and stores.

A schedule marks the loop over such stretches with ``MARK``; the requests are no part of the schedule language, so they
are put in after all scheduling, in candidates and in whole modules alike.
"""

from __future__ import annotations

from math import prod
from typing import Any

import tvm
from tvm import tirx
from tvm.s_tir.stmt import SBlock, SBlockRealize
from tvm.tirx.stmt import Evaluate, For, SeqStmt

MARK = "tunesmith.prefetch"
_LINE_BYTES = 64
_READ, _SECOND_LEVEL, _DATA = 0, 2, 1  # arguments of llvm.prefetch


@tirx.transform.prim_func_pass(opt_level=0)
def insert_prefetches(function: Any, _mod: Any, _context: Any) -> Any:
    """A pass over a module's kernels: puts the requests in wherever a loop is marked.

    Where the constant is no argument of its kernel (one that still rewrites the layout itself), nothing is done.
    """
    arguments = {str(argument.name) for argument in function.params}

    def visit(stmt: Any, enclosing: list[Any]) -> Any:
        if isinstance(stmt, For):
            if MARK in stmt.annotations:
                return _prefetching(stmt, enclosing, arguments)
            return _rebuilt(stmt, visit(stmt.body, [*enclosing, stmt]))
        if isinstance(stmt, SeqStmt):
            return SeqStmt([visit(one, enclosing) for one in stmt.seq])
        if isinstance(stmt, SBlockRealize):
            return _realized(stmt, visit(stmt.block.body, enclosing))
        return stmt

    return function.with_body(visit(function.body, []))


def _prefetching(loop: Any, enclosing: list[Any], arguments: set[str]) -> Any:
    """The marked loop with requests at the start of each of its iterations."""
    nest = [loop]
    while isinstance(nest[-1].body, For):
        nest.append(nest[-1].body)
    realize = nest[-1].body
    block = realize.block
    values = {str(axis.var.name): value for axis, value in zip(block.iter_vars, realize.iter_values, strict=True)}
    lane = str(nest[-1].loop_var.name)
    for region in block.reads:
        axes = names_in(region)
        walked = {name for axis in axes for name in _names(values[axis])}
        if lane in walked and str(region.source.name) in arguments:
            return _with_requests(loop, nest, enclosing, region, walked)
    return loop


def _with_requests(loop: Any, nest: list[Any], enclosing: list[Any], constant: Any, walked: set[str]) -> Any:
    """The loop with requests for the next panel; the layout rewrite has packed the constant in the loops' order."""
    outer = [one for one in enclosing if str(one.loop_var.name) in walked and int(one.extent) > 1]
    if not outer:
        return loop
    panel = prod(int(one.extent) for one in nest if str(one.loop_var.name) in walked)
    start, stride = panel, panel
    for one in reversed(outer):
        start = start + one.loop_var * stride
        stride *= int(one.extent)
    turns = [*enclosing[enclosing.index(outer[-1]) + 1 :], loop]
    turn = 0
    for one in turns:
        turn = turn * int(one.extent) + one.loop_var
    line = _LINE_BYTES * 8 // tvm.DataType(str(constant.source.dtype)).bits
    lines = -(-panel // (line * prod(int(one.extent) for one in turns)))
    leading = (0,) * (len(constant.region) - 1)  # one index for all: the address is linear, and may lie past the last
    places = [(*leading, start + (turn * lines + n) * line) for n in range(lines)]
    requests = [Evaluate(request(constant.source[place])) for place in places]
    annotations = {key: value for key, value in loop.annotations.items() if key != MARK}
    return _rebuilt(loop, SeqStmt([*requests, loop.body]), annotations)


def request(element: Any) -> Any:
    """The call that asks for an element's cache line, into the second-level cache."""
    arguments = [tirx.IntImm("int32", value) for value in (_READ, _SECOND_LEVEL, _DATA)]
    return tirx.call_llvm_intrin("void", "llvm.prefetch", tirx.address_of(element), *arguments)


def names_in(region: Any) -> set[str]:
    """Names of the variables that say where a region of a buffer begins."""
    return {name for one in region.region for name in _names(one.min)}


def _names(expression: Any) -> set[str]:
    return {str(var.name) for var in tirx.analysis.undefined_vars(expression)}


def _rebuilt(loop: Any, body: Any, annotations: Any = None) -> Any:
    kept = loop.annotations if annotations is None else annotations
    return For(loop.loop_var, loop.min, loop.extent, loop.kind, body, loop.thread_binding, kept, loop.step)


def _realized(realize: Any, body: Any) -> Any:
    old = realize.block
    block = SBlock(
        old.iter_vars,
        old.reads,
        old.writes,
        old.name_hint,
        body,
        old.init,
        old.alloc_buffers,
        old.match_buffers,
        old.annotations,
    )
    return SBlockRealize(realize.iter_values, realize.predicate, block)
