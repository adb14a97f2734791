"""The bytes that a launch moves."""

from __future__ import annotations

import pytest

from tuner.jobs.traffic import traffic_bytes


@pytest.mark.parametrize(
    ("summary", "weight_bytes", "expected"),
    [
        ("float32[128,768] x float32[768,768] -> float32[128,768]", 0, 4 * (128 * 768 * 2 + 768 * 768)),
        ("int64[1,128] x float16[10,4] -> bool[1,128]", 0, 8 * 128 + 2 * 40 + 128),
        ("float32[] -> float32[2]", 0, 12),
        ("float32[tokens,4], int32[texts] -> float32[texts,4]", 0, 4 * (32 * 4 + 1 + 4)),
        ("something else", 64, 64),
    ],
)
def test_traffic_is_read_from_the_shapes(summary: str, weight_bytes: int, expected: float) -> None:
    assert traffic_bytes(summary, weight_bytes) == expected
