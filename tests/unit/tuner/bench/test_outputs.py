"""Whatever a runtime returns is compared by name, and a wrong answer takes no part."""

from __future__ import annotations

from collections import UserList
from types import MappingProxyType

import numpy as np
import pytest

from tuner.bench.outputs import checked, named_outputs
from tuner.errors import StageFailed


class RuntimeTensor:
    """A tensor of a runtime's own: numpy knows nothing of it, but it knows numpy."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape = values, values.shape

    def numpy(self) -> np.ndarray:
        return self.values


HIDDEN, POOLED = np.arange(6, dtype=np.float32), np.ones(2, dtype=np.float32)
NAMES = ["last_hidden_state", "pooler_output"]


@pytest.mark.parametrize(
    "raw",
    [
        {"pooler_output": POOLED, "last_hidden_state": HIDDEN},
        [HIDDEN, POOLED],
        (HIDDEN, POOLED),
        UserList([HIDDEN, POOLED]),
        MappingProxyType({0: HIDDEN, 1: POOLED}),
        iter([RuntimeTensor(HIDDEN), RuntimeTensor(POOLED)]),
    ],
    ids=["by name", "list", "tuple", "sequence of its own", "by port", "tensors of its own"],
)
def test_outputs_get_their_names_from_any_runtime(raw: object) -> None:
    found = named_outputs(raw, NAMES)
    assert list(found["last_hidden_state"]) == list(HIDDEN)
    assert list(found["pooler_output"]) == list(POOLED)


def test_a_single_output_needs_no_container() -> None:
    assert list(named_outputs(HIDDEN, NAMES[:1])) == NAMES[:1]


def test_right_outputs_pass_with_their_error() -> None:
    assert checked("peer", [HIDDEN + 1e-6], {"x": HIDDEN}).max_abs_error == pytest.approx(1e-6, rel=0.5)


@pytest.mark.parametrize("raw", [[HIDDEN + 0.1], [HIDDEN[:3]], []], ids=["wrong", "cut", "missing"])
def test_wrong_outputs_are_refused_by_name(raw: list[np.ndarray]) -> None:
    with pytest.raises(StageFailed, match="openvino computes something else"):
        checked("openvino", raw, {"x": HIDDEN})
