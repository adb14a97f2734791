"""From an exported program to kernels to tune, and from tuned kernels to an executable: the one path for both.

prepare   import, rewrite (rows, fused projections, attention), fold parameters on the host, fuse, mark constants
finish    put schedules in, lift the weight layouts they chose, fold parameters again, build
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.relax import transform
from tvm.relax.frontend import detach_params

from tuner.graph import pooling
from tuner.graph.attention import STARTS, rewrite_attention
from tuner.graph.attention_kernel import OPAQUE
from tuner.graph.operators import legalizations
from tuner.graph.replaced import replace_kernels
from tuner.graph.rows import flatten_rows

PIPELINE_VERSION = 6  # part of the key of cached imports: raise it when `prepare` makes other kernels


@dataclass(frozen=True)
class Source:
    """Generated code as text: ``kind`` is ``ll`` (LLVM), ``metal`` or ``cuda``."""

    kind: str
    text: str


@dataclass(frozen=True)
class Prepared:
    """A module of fused kernels whose ``main`` takes the model's inputs, then ``params`` in order."""

    mod: Any
    params: list[np.ndarray]
    inputs: int


def prepare(program: Any, fused_attention: bool = True, longest: int = 0) -> Prepared:
    """Rewrite an exported program into the kernels that are tuned.

    ``fused_attention``: of long sequences in one kernel, which is for CPUs. A program that takes ``starts`` is of texts
    of any lengths up to ``longest``, one after the other in its rows.

    Parameters are folded as far as they can be before a layout is chosen: weights transposed, Q/K/V weights joined,
    position embeddings looked up.
    """
    from tvm.relax.frontend.torch import from_exported_program  # loads PyTorch, which nothing else here needs

    # The exporter has decomposed what it should; a second decomposition would take linear and attention apart.
    mod = from_exported_program(
        program, keep_params_as_input=True, custom_convert_map=pooling.importers(), run_ep_decomposition=False
    )
    mod, params = detach_params(mod)
    return prepare_imported(mod, [value.numpy() for value in params["main"]], fused_attention, longest)


def prepare_imported(mod: Any, params: list[np.ndarray], fused_attention: bool = True, longest: int = 0) -> Prepared:
    """As ``prepare``, of a module that one of TVM's importers made: its ``main`` takes inputs, then ``params``."""
    inputs = int(mod["main"].attrs["num_input"])
    if longest:
        mod = _named_extents(mod)
    mod = flatten_rows(mod)
    mod = transform.CanonicalizeBindings()(transform.CombineParallelMatmul()(mod))
    mod = flatten_rows(rewrite_attention(mod, fused_attention, longest))
    mod, folded = fold_params(mod, params)
    mod = tvm.transform.Sequential(
        [
            transform.LegalizeOps(legalizations()),
            transform.AnnotateTIROpPattern(),
            transform.FoldConstant(),
            transform.FuseOps(),
            transform.FuseTIR(),
            transform.AttachAttrLayoutFreeBuffers(),
            transform.DeadCodeElimination(),
            transform.RewriteDataflowReshape(),
            transform.DeadCodeElimination(),
        ]
    )(mod)
    return Prepared(mod, folded, inputs)


def _named_extents(mod: Any) -> Any:
    """Extents by what they count, the exporter numbers them: how many ``tokens`` there are, and ``texts``."""
    main = mod["main"]
    known = {str(param.name): param.ty.shape.values[0] for param in main.params[:3]}
    names = {known["input_ids"]: "tokens", known[STARTS]: "texts"}
    bounds = {names[var]: int(main.attrs["tir_var_upper_bound"][str(var)]) for var in names}
    main = main.bind_symbolic_vars({var: tirx.Var(name, "int64") for var, name in names.items()})
    main = main.without_attr("tir_var_lower_bound").with_attr("tir_var_upper_bound", bounds)
    mod.update_func(mod.get_global_var("main"), main)
    return mod


def finish(
    prepared: Prepared, database: Any, target: Any, schedule_rest: Any, replaced: Mapping[str, Any] | None = None
) -> tuple[Any, list[np.ndarray]]:
    """Apply the schedules of ``database``; ``schedule_rest`` is a pass for kernels that have none. ``replaced``: whole
    functions to put in the place of others, by the names of these.

    Returns the module, ready to build, and its parameters in the layouts the schedules chose.
    """
    with target, database, tvm.transform.PassContext(opt_level=3):
        mod = transform.MetaScheduleApplyDatabase(enable_warning=False)(replace_kernels(prepared.mod, replaced or {}))
        mod = transform.SplitLayoutRewritePreproc()(mod)
        mod, params = fold_params(mod, prepared.params)
        mod = transform.FoldConstant()(mod)
        mod = schedule_rest(mod)
    return _as_they_are(mod), params


def _as_they_are(mod: Any) -> Any:
    """Kernels that nothing is fused with any more: TVM's own pipeline for GPUs would begin anew, and name the results
    otherwise."""
    for var, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc):
            mod[var] = func.with_attr("op_pattern", OPAQUE)
    return mod


def fold_params(mod: Any, params: list[np.ndarray]) -> tuple[Any, list[np.ndarray]]:
    """Compute on the host all that depends on parameters only; ``main`` then takes the results as its parameters."""
    mod = transform.LiftTransformParams()(mod)
    folding = tvm.IRModule({"main_transform_params": mod["main_transform_params"]})
    for var, func in mod.functions.items():
        if not isinstance(func, relax.Function):
            folding[var] = func
    del mod["main_transform_params"]
    folding = transform.DeadCodeElimination(["main_transform_params"])(folding)
    machine = relax.VirtualMachine(relax.build(folding, tvm.target.Target("llvm")), tvm.cpu())
    folded = machine["main_transform_params"]([tvm.runtime.tensor(value) for value in params])
    return transform.DeadCodeElimination()(mod), [value.numpy() for value in folded]


def build(mod: Any, target: Any, path: str, link: Callable[..., None] | None) -> Source:
    """Compile a finished module into a shared library at ``path``; ``link`` puts its objects together (None: gcc).

    Returns the text of what runs on the target.
    """
    with target, tvm.transform.PassContext(opt_level=3):
        executable = relax.build(mod, target)
    executable.export_library(path, fcompile=link)
    (host,) = executable.mod.imports
    if host.imports:
        return Source(target.kind.name, str(host.imports[0].inspect_source(target.kind.name)))
    return Source("ll", str(host.inspect_source("ll")))


def kernel_names(mod: Any) -> list[str]:
    """Kernels of a finished module, by name."""
    return sorted(str(var.name_hint) for var, func in mod.functions.items() if isinstance(func, tirx.PrimFunc))
