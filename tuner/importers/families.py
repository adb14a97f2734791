"""The families of encoders that are taken, and the heads: what tells one from another, as data. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from tuner.errors import InvalidInput
from tuner.schemas.common import Head

# Added to the scores of padded positions. exp() of it is exactly 0 in float32, no score changes it, so that a row of
# nothing but padding is the library's, and unlike the smallest float32 it stays finite when a compiled softmax
# multiplies it by log2(e).
PADDING_BIAS = 1e30


# How the library's code takes padding: as biases for all scores; as which tokens are seen; as biases for each of its
# kinds of layers, those that look everywhere and those that look through a window.
Mask = Literal["biases", "seen", "windowed"]


@dataclass(frozen=True)
class Family:
    """How a ``model_type`` of the library differs from BERT.

    ``segments``: its tokenizer tells sentences apart (``token_type_ids`` is an input). ``behind_padding``: positions
    are numbered from behind the padding id (fairseq's convention). ``padding_id``: the one that its code takes for
    that, whatever the configuration says; None: the configuration's. ``sdpa``: the library computes attention by
    PyTorch's operator where it is asked to. ``texts``: it can be compiled for texts of any lengths, as its attention
    needs nothing but the tokens. ``mask``: how it takes padding.
    """

    segments: bool = False
    behind_padding: bool = False
    padding_id: int | None = None
    sdpa: bool = True
    texts: bool = True
    mask: Mask = "biases"

    @property
    def right_only(self) -> bool:
        """Is padding computed as the library does on the right only? Where positions are counted from behind it; and
        where what stands at padding sees nothing, which matters to who looks at the first token."""
        return self.behind_padding or self.mask == "seen"

    def first_position(self, config: Mapping[str, Any]) -> int:
        """The number of the first token's position."""
        if not self.behind_padding:
            return 0
        return 1 + (int(config.get("pad_token_id", 1)) if self.padding_id is None else self.padding_id)


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "albert": Family(segments=True),
        "bert": Family(segments=True),
        "camembert": Family(behind_padding=True),
        "deberta-v2": Family(sdpa=False, texts=False, mask="seen"),
        "distilbert": Family(),
        "electra": Family(segments=True),
        "modernbert": Family(texts=False, mask="windowed"),
        "mpnet": Family(behind_padding=True, padding_id=1, sdpa=False, texts=False),
        "nomic_bert": Family(segments=True, texts=False),
        "roberta": Family(behind_padding=True),
        "xlm-roberta": Family(behind_padding=True),
    }
)

# What the library calls a model that has the head. A masked language model's is left out unless it is asked for:
# most such checkpoints are wanted for what they know of texts.
_ENDINGS: Mapping[str, Head] = MappingProxyType(
    {
        "ForSequenceClassification": "sequence-classification",
        "ForTokenClassification": "token-classification",
        "ForQuestionAnswering": "question-answering",
        "ForMultipleChoice": "multiple-choice",
    }
)

OUTPUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sentence-embedding": ("sentence_embedding",),
        "sequence-classification": ("logits",),
        "token-classification": ("logits",),
        "question-answering": ("start_logits", "end_logits"),
        "multiple-choice": ("logits",),
        "masked-lm": ("logits",),
    }
)

# First parts of the names of weights that belong to a head, of whichever family, or that the library computes anew.
_OF_HEADS = frozenset(
    (
        *("classifier", "cls", "decoder", "discriminator_predictions", "generator_lm_head", "generator_predictions"),
        *("head", "lm_head", "pooler", "pre_classifier", "predictions", "qa_outputs", "sequence_summary"),
        *("sop_classifier", "vocab_layer_norm", "vocab_projector", "vocab_transform"),
    )
)
_COMPUTED = ("position_ids", "token_type_ids", "inv_freq")


def is_of_head(weight: str, prefix: str) -> bool:
    """Is a weight, by its name in a file, none of the encoder's? ``prefix`` is the library's for the encoder itself."""
    parts = weight.removeprefix(f"{prefix}.").split(".")
    return parts[0] in _OF_HEADS or parts[-1] in _COMPUTED


def check_texts(family: str, head: str) -> None:
    """Raise InvalidInput when a model of this family and head can't be compiled for texts of any lengths."""
    if family in FAMILIES and not FAMILIES[family].texts:
        can = ", ".join(name for name, one in FAMILIES.items() if one.texts)
        raise InvalidInput(
            f"Models of the {family} family are compiled for one shape only.",
            f"Leave out the lengths; texts of any lengths are for {can}.",
        )
    if head not in ("", "encoder", "sentence-embedding", "sequence-classification"):
        raise InvalidInput(
            f"A model with a head for {head} is compiled for one shape only.",
            "Leave out the lengths, or take --head encoder.",
        )


def head_of(config: Mapping[str, Any]) -> Head:
    """The head a checkpoint was trained with, as its architecture says; else the plain encoder."""
    architectures = config.get("architectures")
    for name in architectures if isinstance(architectures, list) else []:
        for ending, head in _ENDINGS.items():
            if str(name).endswith(ending):
                return head
    return "encoder"
