"""An operator as an import: a graph of one kernel, its constants, and what it must compute."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm_ffi.serialization import from_json_graph_str

from tuner.errors import ModelInvalid
from tuner.graph.pipeline import Prepared
from tuner.importers.operators import bounds, files
from tuner.importers.operators.catalog import Operator, parse
from tuner.importers.operators.expressions import define
from tuner.importers.snapshot import Fetched

OUTPUT = "out"
PYTORCH, PLAIN_BUILD = "PyTorch, float32", "an unscheduled build of the operator"
_SAMPLES = 3


@dataclass(frozen=True)
class LoadedOperator:
    """One kernel and its data.

    ``names``, ``shapes``: of its inputs in call order; ``constants``: positions and values of those that are weights;
    ``operator``: None for the user's own, which PyTorch doesn't know.
    """

    name: str
    func: Any
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    constants: dict[int, np.ndarray]
    operator: Operator | None

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs that are given with each call."""
        return [name for i, name in enumerate(self.names) if i not in self.constants]

    @property
    def against(self) -> str:
        """What its outputs are compared with."""
        return PYTORCH if self.operator else PLAIN_BUILD

    def arguments(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """All arguments in call order."""
        return [self.constants.get(i, inputs.get(name)) for i, name in enumerate(self.names)]  # type: ignore[misc]

    def samples(self) -> list[dict[str, np.ndarray]]:
        """Seeded normal inputs."""
        return [self._sample(seed) for seed in range(1, _SAMPLES + 1)]

    def _sample(self, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        given = [
            (n, s) for i, (n, s) in enumerate(zip(self.names, self.shapes, strict=True)) if i not in self.constants
        ]
        return {name: rng.standard_normal(shape, np.float32) for name, shape in given}


def load_operator(fetched: Fetched) -> LoadedOperator:
    """An operator, with seeded constants. Raises ModelInvalid for a file that is no kernel we can tune."""
    if fetched.folder is None:
        operator = parse(fetched.source.location)
        definition = define(operator)
        return _loaded(operator.kind.name, definition.func, definition.constants, operator)
    path = fetched.folder / Path(fetched.source.location).name
    given = files.read(path)
    try:
        func = from_json_graph_str(given.tir).without_attr("layout_free_buffers")
    except Exception as error:  # whatever TVM's parser meets
        raise ModelInvalid(
            f"{fetched.source.location} holds no TIR: {error}", "Write it with `tunesmith tune-op`."
        ) from None
    loaded = _loaded(given.name, func, tuple(given.constants), None)
    bounds.check(given.name, func)
    return loaded


def reference(loaded: LoadedOperator, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The output by name, as PyTorch computes it, or, for the user's own, as TVM does without a schedule."""
    arguments = loaded.arguments(inputs)
    if loaded.operator is not None:
        from tuner.importers.operators.torch_side import computed  # PyTorch, which the user's own go without

        return {OUTPUT: computed(loaded.operator, arguments)}
    built = tvm.compile(loaded.func.with_attr("global_symbol", "main"), target="llvm")
    out = tvm.runtime.empty(_buffers(loaded.func)[-1][1], "float32")
    built["main"](*map(tvm.runtime.tensor, arguments), out)
    return {OUTPUT: out.numpy()}


def prepare_operator(loaded: LoadedOperator) -> Prepared:
    """A graph whose ``main`` launches the kernel once; constants are its parameters, in layouts that are free."""
    builder = relax.BlockBuilder()
    variables = [
        relax.Var(name, relax.TensorType(shape, "float32"))
        for name, shape in zip(loaded.names, loaded.shapes, strict=True)
    ]
    given = [var for i, var in enumerate(variables) if i not in loaded.constants]
    params = [variables[i] for i in loaded.constants]
    kernel = builder.add_func(_kernel(loaded), loaded.name)
    _, shape = _buffers(loaded.func)[-1]
    with builder.function("main", [*given, *params], attrs={"num_input": len(given)}):
        with builder.dataflow():
            call = relax.call_tir(kernel, variables, relax.TensorType(shape, "float32"))
            result = builder.emit_output(call)
        builder.emit_func_output(result)
    return Prepared(builder.get(), list(loaded.constants.values()), len(given))


def _kernel(loaded: LoadedOperator) -> Any:
    attributes: dict[str, Any] = {"global_symbol": loaded.name, "tirx.noalias": True}
    if loaded.constants:
        attributes["layout_free_buffers"] = list(loaded.constants)
    return loaded.func.with_attrs(attributes)


def _loaded(name: str, func: Any, constants: tuple[int, ...], operator: Operator | None) -> LoadedOperator:
    buffers = _buffers(func)
    *inputs, _ = buffers
    if not inputs or any(not 0 <= i < len(inputs) for i in constants) or len(constants) == len(inputs):
        raise ModelInvalid(
            f"{name} has {len(inputs)} inputs and the constants {list(constants)}.",
            "A function must return its inputs and then one result; constants are positions of some of the inputs.",
        )
    rng = np.random.default_rng(0)
    values = {
        i: rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(math.prod(shape[1:])))
        for i, (_, shape) in enumerate(inputs)
        if i in constants
    }
    return LoadedOperator(name, func, tuple(n for n, _ in inputs), tuple(s for _, s in inputs), values, operator)


def _buffers(func: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of each argument. Raises ModelInvalid unless all are float32 of fixed shape."""
    try:
        found = [(str(param.name), tuple(int(extent) for extent in param.shape)) for param in func.params]
    except (AttributeError, TypeError):
        raise ModelInvalid("The operator is no function of tensors of fixed shape.", "See docs/operators.md.") from None
    if any(str(param.dtype) != "float32" for param in func.params):
        raise ModelInvalid("The operator has tensors that are not float32.", "Write it in float32.")
    return found
