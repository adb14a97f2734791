"""What a tuned module gives is, in all ways that it is looked at, what the library would have made."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch.utils import _pytree
from transformers import modeling_outputs

from tunesmith.outputs import model_output

VALUES = {"logits": torch.ones(2, 3)}
PAIR = {"last_hidden_state": torch.ones(1, 2, 3), "pooler_output": torch.zeros(1, 3)}


@pytest.mark.parametrize(
    ("head", "values", "kind"),
    [
        ("sequence-classification", VALUES, modeling_outputs.SequenceClassifierOutput),
        ("encoder", PAIR, modeling_outputs.BaseModelOutputWithPooling),
        ("encoder", {"last_hidden_state": PAIR["last_hidden_state"]}, modeling_outputs.BaseModelOutput),
        ("question-answering", {"start_logits": VALUES["logits"], "end_logits": VALUES["logits"]}, None),
    ],
)
def test_an_output_is_as_the_library_makes_it(head: str, values: dict[str, torch.Tensor], kind: type | None) -> None:
    made = model_output(head, values)
    wanted = type(made)(**values)
    assert kind is None or type(made) is kind
    for one in (made, copy.copy(made), pickle.loads(pickle.dumps(made))):
        assert list(one) == list(wanted)
        assert [value is None for value in (one.get("attentions"), one.attentions, one.hidden_states)] == [True] * 3
        assert all(torch.equal(a, b) for a, b in zip(one.to_tuple(), wanted.to_tuple(), strict=True))
        assert all(torch.equal(getattr(one, name), one[name]) for name in values)
    assert repr(made) == repr(wanted)
    assert _pytree.tree_flatten(made)[1] == _pytree.tree_flatten(wanted)[1]
    made["attentions"] = made.attentions = VALUES["logits"]
    assert "attentions" in made
