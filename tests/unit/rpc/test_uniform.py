"""Random arrays that two machines make alike."""

from __future__ import annotations

import numpy as np
import pytest

from rpc.uniform import uniform


def test_a_seed_gives_the_same_everywhere() -> None:
    """By values from another machine: a NumPy that made others would have right candidates called wrong."""
    np.testing.assert_array_equal(
        uniform((2, 2), "float32", seed=3, low=-1.0, high=1.0),
        np.array(
            [[0.6230089664459229, -0.8287017345428467], [-0.6411186456680298, -0.5263789892196655]], dtype=np.float32
        ),
    )
    assert not np.array_equal(uniform((8,), "float32", 0, 0.0, 1.0), uniform((8,), "float32", 1, 0.0, 1.0))


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1e3), (-10000.0, -10000.0)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
def test_values_lie_between(dtype: str, low: float, high: float) -> None:
    values = uniform((64, 3), dtype, 0, low, high)
    assert (values.shape, str(values.dtype)) == ((64, 3), dtype)
    assert np.all((values >= low) & (values <= high))
