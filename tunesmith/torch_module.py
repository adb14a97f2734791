"""An artifact as a PyTorch module, for programs and libraries that have a model of transformers in their hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import torch

from tuner.artifact.fitting import Arrays, Shape, is_of_tokens, parts
from tuner.artifact.loader import Runner
from tuner.artifact.members import ArtifactError
from tunesmith.config import config_of
from tunesmith.outputs import model_output
from tunesmith.tensors import array_of, tensors_of

_PACKED = ("positions", "starts")  # inputs that no caller gives
_NOT_KEPT = ("labels", "output_attentions", "output_hidden_states", "inputs_embeds", "position_ids", "head_mask")


class TunedModule(torch.nn.Module):
    """The artifact as a module: the library's arguments in, its ``ModelOutput`` out, over DLPack; runs on the CPU in
    float32, without gradients.

    ``as_module`` makes one, whose class is named as the library's of that architecture: libraries go by that name.
    """

    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ("text",)

    def __init__(self, runner: Runner, config: Any = None) -> None:
        super().__init__()
        self.runner = runner
        self.config = config_of(runner.manifest, config)
        self._names = [spec["name"] for spec in runner.inputs if spec["name"] not in _PACKED]
        self._known = frozenset((*self._names, "attention_mask"))
        self._gives_tuples = self.config.return_dict is False
        self._head = str((runner.manifest.get("model") or {}).get("head"))
        self._shape = self._compiled_shape()
        super().train(False)

    @property
    def device(self) -> torch.device:
        """Where its tensors come from and go to: the CPU, also where its kernels run on a GPU."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """Of its outputs."""
        return torch.float32

    def can_generate(self) -> bool:
        """Encoders write no text."""
        return False

    def forward(self, *tensors: Any, return_dict: bool | None = None, **inputs: Any) -> Any:
        """The outputs for tensors ``(texts, length)`` as tokenizers pad them, by name or in order; what is left out is
        ones for the mask, zeros else. A ``ModelOutput``, or a tuple if ``return_dict`` is false.

        An artifact for texts takes every length and batch. One of a fixed shape fills up smaller calls, and runs
        several times for larger batches. Raises ArtifactError when that can't be.
        """
        if tensors:
            inputs = dict(zip(self._names, tensors, strict=False)) | inputs
        arrays = self._arrays(inputs)
        if self._shape is not None:
            values = self._run_parts(arrays, self._shape)
        else:
            values = tensors_of(self.runner.run_in_place(**arrays))
        if self._gives_tuples if return_dict is None else not return_dict:
            return tuple(values.values())
        return model_output(self._head, values)

    def train(self, mode: bool = True) -> TunedModule:
        """Only ``eval()``: a compiled module does not learn."""
        if mode:
            self._refuse("be trained: its kernels only go forward", "Train the model it was made from, and tune that")
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: weights are laid out for the kernels."""
        self._refuse("give its weights: they are laid out for its kernels", "Take those of the model it was made from")

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: the artifact is the file."""
        self._refuse("be saved again", "Keep or copy the artifact that it was loaded from")

    save_pretrained = push_to_hub = load_state_dict = __reduce_ex__ = save

    def _apply(self, fn: Callable[..., torch.Tensor], recurse: bool = True) -> TunedModule:
        """All that moves or casts a module comes by here: it stays where it is, or refuses."""
        try:
            moved = fn(torch.zeros(1))
        except (AssertionError, RuntimeError) as error:
            raise ArtifactError(f"A compiled module can't be moved there: {error}") from None
        if moved.device != self.device or moved.dtype != self.dtype:
            self._refuse(f"go to {moved.device} as {moved.dtype}", "Compile the model for the target that shall run it")
        return self

    def extra_repr(self) -> str:
        """What it was made of."""
        model = self.runner.manifest.get("model") or {}
        return f"tuned by TuneSmith: {model.get('name')}, {self._shape or 'texts of any lengths'}"

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise ArtifactError(f"A compiled module can't {what}. {instead}.")

    def _compiled_shape(self) -> Shape | None:
        """What calls are fitted to; None where they are taken as they come."""
        manifest = self.runner.manifest
        if manifest.get("texts") or "input_ids" not in self._names:
            return None
        batch, seq_len = next(spec["shape"] for spec in self.runner.inputs if spec["name"] == "input_ids")
        return Shape(batch, seq_len, {"input_ids": getattr(self.config, "pad_token_id", None) or 0})

    def _arrays(self, inputs: dict[str, Any]) -> Arrays:
        """The inputs as arrays that share the tensors' memory. Raises ArtifactError naming what can't be had."""
        given = {name: value for name, value in inputs.items() if value is not None and value is not False}
        if not self._known.issuperset(given):
            self._refuse_inputs(sorted(given.keys() - self._known))
        arrays = {name: array_of(value) for name, value in given.items()}
        if self._shape is not None and "input_ids" in arrays:
            ids = arrays["input_ids"]
            for name in self._names:
                arrays.setdefault(name, np.full(ids.shape, name == "attention_mask", ids.dtype))
        return arrays

    def _refuse_inputs(self, unknown: list[str]) -> NoReturn:
        if kept := [name for name in unknown if name in _NOT_KEPT]:
            raise ArtifactError(f"A compiled module has no {', '.join(kept)}: it computes outputs from token ids only.")
        raise ArtifactError(f"The inputs are {', '.join(self._names)}; got {', '.join(unknown)} too.")

    def _run_parts(self, arrays: Arrays, shape: Shape) -> dict[str, torch.Tensor]:
        found: list[dict[str, torch.Tensor]] = []
        for part in parts(arrays, shape):
            values = tensors_of(self.runner.run_in_place(**part.inputs))
            found.append({name: self._cut(name, value, part.rows, part.length) for name, value in values.items()})
        if len(found) == 1:
            return found[0]
        return {name: torch.cat([values[name] for values in found]) for name in found[0]}

    def _cut(self, name: str, value: torch.Tensor, rows: int, length: int) -> torch.Tensor:
        return value[:rows, :length] if is_of_tokens(self._head, name) else value[:rows]


def as_module(runner: Runner, config: Any = None) -> TunedModule:
    """The artifact as a module; pipelines look for the name that its class has in the library."""
    made = TunedModule(runner, config)
    architecture = _ARCHITECTURES.get(made._head, "Model")
    prefix = type(made.config).__name__.removesuffix("Config")
    made.__class__ = type(f"{prefix}{architecture}", (TunedModule,), {"__module__": __name__})
    return made


_ARCHITECTURES = {
    "sequence-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "masked-lm": "ForMaskedLM",
    "multiple-choice": "ForMultipleChoice",
}
