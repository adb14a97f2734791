"""A model in memory as what a job takes: files and a wish; and the tuned module as what the model was."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tuner.cli.text_file import token_count
from tuner.errors import InvalidInput
from tuner.schemas import BudgetIn, JobIn
from tuner.schemas.common import Head

_HEADS: dict[str, Head] = {
    "ForSequenceClassification": "sequence-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "masked-lm",
}


@dataclass(frozen=True)
class Handed:
    """``model`` is what a job is told, ``name`` what its file is called, ``config`` the library's configuration;
    ``back`` puts the tuned module where the network was. A program has its shapes in it."""

    model: str
    name: str
    head: Head | None = None
    config: Any = None
    back: Callable[[Any], Any] = lambda module: module
    is_program: bool = False


def hand_over(model: Any, place: Path, tokenizer: Any = None, example_inputs: Any = None) -> Handed:
    """Write a model into ``place``, if it isn't a name or a folder already.

    Raises InvalidInput for what is no model that is taken, ModelInvalid for a module that can't be exported.
    """
    if isinstance(model, (str, Path)):
        folder = Path(model).expanduser()
        told = str(folder.resolve()) if folder.is_dir() else str(model)
        return Handed(told, folder.name)
    kinds = {kind.__name__ for kind in type(model).__mro__}
    if "SentenceTransformer" in kinds:
        return _sentence_transformer(model, place)
    if "PreTrainedModel" in kinds:
        return _pretrained(model, place, tokenizer)
    if "Module" in kinds:
        return _module(model, place, example_inputs)
    raise InvalidInput(
        f"A {type(model).__name__} is no model that is tuned from memory.",
        "Give a module of PyTorch, a SentenceTransformer, or the name or folder of a model.",
    )


def wish_for(
    handed: Handed,
    example_inputs: Any = None,
    texts: Sequence[str] | None = None,
    budget: str | int = "express",
    tokenizer: Any = None,
) -> JobIn:
    """The job: for texts as long as ``texts`` are, for the shape of ``example_inputs``, or, without both, for what the
    service thinks best. Raises InvalidInput for a budget or inputs that say nothing."""
    shape: dict[str, Any] = {}
    if handed.is_program:
        if texts is not None:
            raise InvalidInput("texts are for known encoders.", "Leave them out: example_inputs say the shapes.")
    elif texts is not None:
        shape["text_lengths"] = _counts(list(texts), tokenizer)
    elif example_inputs is not None:
        shape["batch"], shape["seq_len"] = _shape(example_inputs)
    return JobIn(model=handed.model, head=handed.head, budget=_budget(budget), **shape)


def _pretrained(model: Any, place: Path, tokenizer: Any) -> Handed:
    name = Path(getattr(model.config, "_name_or_path", "") or type(model).__name__).name
    folder = place / name
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    head = next((head for ending, head in _HEADS.items() if type(model).__name__.endswith(ending)), None)
    return Handed(str(folder), name, head, model.config)


def _module(model: Any, place: Path, example_inputs: Any) -> Handed:
    """Any module, exported for the shapes of its example inputs."""
    if example_inputs is None:
        raise InvalidInput(
            f"A {type(model).__name__} is exported with example inputs, and there are none.",
            "Give example_inputs: a tuple in the order of its arguments, or a dictionary by their names.",
        )
    from tuner.importers.programs.loading import save_module  # who has a module has PyTorch

    by_name = dict(example_inputs) if isinstance(example_inputs, Mapping) else {}
    in_order = tuple(example_inputs) if isinstance(example_inputs, (list, tuple)) else (example_inputs,)
    name = type(model).__name__
    return Handed(
        str(save_module(model, () if by_name else in_order, place / f"{name}.pt2", by_name)), name, is_program=True
    )


def _sentence_transformer(model: Any, place: Path) -> Handed:
    """Its encoder is tuned; pooling and what follows stay as they are, in a copy that shares them."""
    handed = _pretrained(model[0].model, place, model.tokenizer)

    def back(module: Any) -> Any:
        whole, first = copy.copy(model), copy.copy(model[0])
        first._modules = dict(first._modules)
        first.model = module
        whole._modules = dict(whole._modules) | {next(iter(whole._modules)): first}
        return whole

    return Handed(handed.model, handed.name, "encoder", handed.config, back)


def _budget(budget: str | int) -> BudgetIn:
    if budget in ("express", "full"):
        return BudgetIn(preset=cast(Any, budget))
    if isinstance(budget, int) and not isinstance(budget, bool):
        return BudgetIn(trials=budget)
    raise InvalidInput(f"No budget is called {budget!r}.", 'It is "express", "full", or a number of trials.')


def _counts(texts: list[str], tokenizer: Any) -> list[int]:
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidInput("texts is no list of texts.", "Give some of those that the model will read.")
    if tokenizer is None:
        return [token_count(text) for text in texts]
    return [len(ids) for ids in tokenizer(texts)["input_ids"]]


def _shape(inputs: Any) -> tuple[int, int]:
    values = (
        inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, (list, tuple)) else [inputs]
    )
    shapes = [tuple(int(extent) for extent in value.shape) for value in values if hasattr(value, "shape")]
    if not shapes or len(shapes[0]) != 2:
        raise InvalidInput("The example inputs hold no tensor (batch, sequence).", "Give what a tokenizer returns.")
    return shapes[0][0], shapes[0][1]
