"""A transformer as a function of plain tensors: the form that is exported, compiled and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from tuner.importers import forms
from tuner.importers.families import FAMILIES, PADDING_BIAS
from tuner.importers.pooled import Tail

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel

Attention = Literal["eager", "sdpa"]


class PlainModule(torch.nn.Module):
    """Takes int32 tensors ``(batch, seq)``, returns ``output_names`` as a tuple of float32 tensors.

    With ``own_mask`` the additive mask ``(batch, 1, 1, seq)`` and the position numbers are made here, once, instead of
    by the library: three small operators in the exported graph rather than dozens. Sequences must then be padded on
    the right, as tokenizers of these families do; the network is a ``forms.exportable`` one. Without it the library's
    own forward runs unchanged. ``tail``: what makes one embedding of a text's tokens, the only output then.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        output_names: tuple[str, ...],
        own_mask: bool = True,
        tail: Tail | None = None,
    ) -> None:
        super().__init__()
        self.tail = tail
        self.network = forms.exportable(network) if own_mask else network
        self.output_names = output_names
        self.own_mask = own_mask
        self.scores_choices = type(network).__name__.endswith("ForMultipleChoice")
        config: Any = network.config
        self.has_own_ways = self.scores_choices or (own_mask and FAMILIES[config.model_type].mask == "windowed")
        self.has_segments = hasattr(config, "type_vocab_size")
        self.first_position = FAMILIES[config.model_type].first_position(config.to_dict())

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Run the network; shapes as the class says, ``token_type_ids`` for the families that have segments."""
        named: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            named["token_type_ids"] = token_type_ids
        if self.own_mask:
            named["attention_mask"] = forms.mask(self.network, (attention_mask.to(torch.float32) - 1.0) * PADDING_BIAS)
            first = self.first_position
            named["position_ids"] = torch.arange(first, first + input_ids.shape[1], dtype=torch.int64)[None, :]
            if token_type_ids is None and self.has_segments:
                named["token_type_ids"] = torch.zeros_like(input_ids)
        outputs = self._past_head(named, attention_mask) if self.has_own_ways else self.network(**named)
        if self.tail is not None:
            return (self.tail(outputs["last_hidden_state"], attention_mask),)
        return tuple(cast(torch.Tensor, outputs[name]) for name in self.output_names)

    def _past_head(self, named: dict[str, Any], seen: torch.Tensor) -> Any:
        """Outputs of a network whose head looks at masks itself: it gets the plain one, the encoder gets ours past it.

        One for multiple choice flattens what it is given: each sequence is a question with one choice here, for which
        it gives ``logits (batch, 1)``.
        """
        own = {name: named.pop(name) for name in ("attention_mask", "position_ids") if self.own_mask}
        named["attention_mask"] = seen
        if self.scores_choices:
            named = {name: value[:, None, :] for name, value in named.items()}

        def put_in(_module: Any, given: Any, by_name: dict[str, Any]) -> Any:
            return given, by_name | own

        encoder = cast(Any, self.network).base_model
        hook = encoder.register_forward_pre_hook(put_in, with_kwargs=True)
        try:
            return self.network(**named)
        finally:
            hook.remove()


class RaggedModule(torch.nn.Module):
    """Texts of any lengths, one after the other, as one sequence: int32 ``input_ids (tokens,)``, ``positions`` likewise
    of each within its text, ``starts (texts,)`` of the texts among them, and ``token_type_ids (tokens,)`` for the
    families that have segments. Returns ``last_hidden_state (tokens, hidden)``, all else by text.

    What follows the encoder looks at the first token of each sequence; it gets the texts' first tokens as sequences of
    one. Attention looks at all tokens here: whoever compiles this keeps it within each text, by ``starts``.
    """

    def __init__(self, network: torch.nn.Module, output_names: tuple[str, ...], tail: Tail | None = None) -> None:
        super().__init__()
        self.network = forms.exportable(network)
        self.output_names = output_names
        self.tail = tail

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        starts: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Run the network; shapes as the class says."""
        hidden: list[torch.Tensor] = []

        def keep_first_tokens(_module: Any, _inputs: Any, output: Any) -> Any:
            rows = output[0].reshape(input_ids.shape[0], output[0].shape[-1])
            hidden.append(rows)
            output["last_hidden_state"] = rows.index_select(0, starts)[:, None, :]
            return output

        named: dict[str, Any] = {"input_ids": input_ids[None], "position_ids": positions[None]}
        named["attention_mask"] = torch.zeros(1, 1, 1, input_ids.shape[0])
        if token_type_ids is not None:
            named["token_type_ids"] = token_type_ids[None]
        elif hasattr(self.network.config, "type_vocab_size"):
            named["token_type_ids"] = torch.full_like(input_ids, 0)[None]  # as zeros_like is taken apart
        base = cast(Any, self.network).base_model
        encoder = base.transformer if hasattr(base, "transformer") else base.encoder
        hook = encoder.register_forward_hook(keep_first_tokens)
        try:
            outputs = self.network(**named)
        finally:
            hook.remove()
        if self.tail is not None:
            return (self.tail.of_rows(hidden[0], starts),)
        return tuple(hidden[0] if name == "last_hidden_state" else outputs[name] for name in self.output_names)


def variant(loaded: LoadedModel, attention: Attention) -> torch.nn.Module:
    """The library's own forward with another attention (where it has one), sharing the parameters; called like
    ``loaded.module``."""
    network = forms.twin(loaded.network)
    if FAMILIES[loaded.source.family].sdpa:
        network.set_attn_implementation(attention)
    return PlainModule(network, loaded.output_names, own_mask=False, tail=loaded.module.tail).eval()
