"""From an exported program to kernels to tune, and from tuned kernels to an executable: the one path for both.

prepare   import, rewrite (rows, fused projections, attention), fold parameters on the host, fuse, mark constants
finish    put schedules in, lift the weight layouts they chose, fold parameters again, build
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.ir.transform import PassContext
from tvm.relax import transform
from tvm.relax.frontend import detach_params

from tuner.graph import known, pooling
from tuner.graph.attention import STARTS, rewrite_attention
from tuner.graph.attention_kernel import OPAQUE
from tuner.graph.gates import fold_gates
from tuner.graph.norms import fold_norms
from tuner.graph.onlooker import passes, show, unwatched
from tuner.graph.operators import legalizations
from tuner.graph.origins import made_of
from tuner.graph.places import Places, places
from tuner.graph.replaced import replace_kernels
from tuner.graph.rotary import fold_rotations
from tuner.graph.rows import flatten_rows

_WRAPPED = "network."  # where a model of the library's is held while it is exported
PIPELINE_VERSION = 10  # part of the key of cached imports: raise it when `prepare` makes other kernels
GPU_VERSION = 3  # the same, of kernels that only GPUs have


@dataclass(frozen=True)
class Source:
    """Generated code as text: ``kind`` is ``ll`` (LLVM), ``metal`` or ``cuda``; and where its kernels run."""

    kind: str
    text: str
    places: Places


@dataclass(frozen=True)
class Prepared:
    """A module of fused kernels whose ``main`` takes the model's inputs, then ``params`` in order; ``origins`` names
    the tensors of the model that each of these is made of."""

    mod: Any
    params: list[np.ndarray]
    inputs: int
    origins: list[list[str]] = field(default_factory=list)

    def of_kernels(self, mod: Any) -> Prepared:
        """The same of another module of the same model, whose ``main`` may take parameters in other types."""
        types = [str(param.ty.dtype) for param in mod["main"].params[self.inputs :]]
        params = [one.astype(dtype, copy=False) for one, dtype in zip(self.params, types, strict=True)]
        return Prepared(mod, params, self.inputs)


def prepare(program: Any, kind: str = "llvm", longest: int = 0) -> Prepared:
    """Rewrite an exported program into the kernels that are tuned.

    What is one kernel depends on the ``kind`` of target. A program that takes ``starts`` is of texts of any lengths up
    to ``longest``, one after the other in its rows.

    Parameters are folded as far as they can be before a layout is chosen: weights transposed, Q/K/V weights joined,
    position embeddings looked up.
    """
    from tvm.relax.frontend.torch import from_exported_program  # loads PyTorch, which nothing else here needs

    show("exported program", "txt", lambda: str(program))
    # The exporter has decomposed what it should; a second decomposition would take linear and attention apart.
    mod = from_exported_program(
        program,
        keep_params_as_input=True,
        custom_convert_map=pooling.importers() | known.importers(),
        run_ep_decomposition=False,
    )
    mod, params = detach_params(mod)
    signature = program.graph_signature
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names = {name: tensor.removeprefix(_WRAPPED) for name, tensor in held.items()}
    return prepare_imported(mod, in_place(params["main"]), kind, longest, names)


def prepare_imported(
    mod: Any,
    params: list[np.ndarray],
    kind: str = "llvm",
    longest: int = 0,
    names: Mapping[str, str] | None = None,
) -> Prepared:
    """As ``prepare``, of a module that one of TVM's importers made: its ``main`` takes inputs, then ``params``, which
    the model may call by other ``names``."""
    show("imported", "py", mod.script)
    inputs = int(mod["main"].attrs["num_input"])
    if longest:
        mod = _named_extents(mod)
    mod = flatten_rows(mod)
    show("rows flattened", "py", mod.script)
    mod = transform.CanonicalizeBindings()(transform.CombineParallelMatmul()(mod))
    if kind == "llvm":
        mod = fold_rotations(mod)
        show("rotations folded", "py", mod.script)
    mod = flatten_rows(rewrite_attention(mod, kind, longest))
    show("attention rewritten", "py", mod.script)
    if kind == "llvm":
        mod = fold_gates(mod)
        show("gates folded", "py", mod.script)
    if kind == "metal":
        mod = fold_norms(mod)
        show("norms folded", "py", mod.script)
    called = [str(param.name) for param in mod["main"].params[inputs:]]
    mod, folded, origins = _folded(mod, params, [(names or {}).get(name, name) for name in called])
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
    return Prepared(mod, folded, inputs, origins)


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
    with target, database, passes(opt_level=3):
        mod = replace_kernels(prepared.mod, replaced or {})
        show("kernels written out replaced", "py", mod.script)
        mod = transform.MetaScheduleApplyDatabase(enable_warning=False)(mod)
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
    mod, folded, _ = _folded(mod, params)
    return mod, folded


def _folded(
    mod: Any, params: list[np.ndarray], names: Sequence[str] = ()
) -> tuple[Any, list[np.ndarray], list[list[str]]]:
    """And which of the parameters, by name, each result is made of, if they have names."""
    mod = transform.LiftTransformParams()(mod)
    folding = tvm.IRModule({"main_transform_params": mod["main_transform_params"]})
    for var, func in mod.functions.items():
        if not isinstance(func, relax.Function):
            folding[var] = func
    del mod["main_transform_params"]
    folding = transform.DeadCodeElimination(["main_transform_params"])(folding)
    show("folded on the host", "py", folding.script)
    # What calls these is compiled from the same module: code that looks at their arguments would only take LLVM's time.
    with unwatched(), PassContext(opt_level=PassContext.current().opt_level, config={"tirx.disable_assert": True}):
        machine = relax.VirtualMachine(relax.build(folding, tvm.target.Target("llvm")), tvm.cpu())
    folded = machine["main_transform_params"]([tvm.runtime.tensor(value) for value in params])
    origins = made_of(folding["main_transform_params"], names) if names else []
    return transform.DeadCodeElimination()(mod), in_place(folded), origins


def in_place(tensors: Sequence[Any]) -> list[np.ndarray]:
    """TVM's tensors of the host as NumPy's where they lie: copies of a model's parameters would take seconds."""
    return [np.from_dlpack(value) for value in tensors]


def build(mod: Any, target: Any, path: str, link: Callable[..., None]) -> Source:
    """Compile a finished module into a shared library at ``path``; ``link`` puts its objects together.

    Returns the text of what runs on the target.
    """
    with target, passes(opt_level=3):
        executable = relax.build(mod, target)
    executable.export_library(path, fcompile=link)
    (host,) = executable.mod.imports
    code = str(host.inspect_source("ll"))
    show("code of the CPU", "ll", lambda: code)
    show("assembly of the CPU", "s", lambda: str(host.inspect_source("s")))
    kind, instructions = target.kind.name, str(executable.as_text())
    if not host.imports:
        return Source("ll", code, places(instructions, "", kind))
    text = str(host.imports[0].inspect_source(kind))
    show("code of the GPU", kind, lambda: text)
    return Source(kind, text, places(instructions, text, kind))


def kernels_of(mod: Any) -> dict[str, Any]:
    """A module's kernels by name, in order of their names."""
    found = {str(var.name_hint): func for var, func in mod.functions.items() if isinstance(func, tirx.PrimFunc)}
    return dict(sorted(found.items()))
