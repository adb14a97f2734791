"""Records are of the CPU that measured them."""

from __future__ import annotations

from typing import Any

import pytest

from tuner.measuring.identity import expected_of

LOCAL = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "znver4", "num-cores": 2}
M1 = {"kind": "metal", "host": {"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": "apple-m1"}}
ZEN4 = {"cpu": "AMD EPYC", "mcpu": "znver4", "mtriple": "x86_64-unknown-linux-gnu", "threads": 2}


@pytest.mark.parametrize(
    ("target", "exact", "told", "said"),
    [
        (LOCAL, True, {}, ""),
        (LOCAL, True, {"mcpu": "znver5"}, "is a znver5 now, and the job measures for znver4"),
        (LOCAL, True, {"threads": 4}, "measures with 4 threads now"),
        (LOCAL, False, {"threads": 4}, ""),
        (LOCAL, True, {"mtriple": "aarch64-linux-gnu"}, "is of aarch64"),
        (M1, False, {"mcpu": "apple-m2", "mtriple": "arm64-apple-darwin23"}, "is a apple-m2 now"),
        (M1, False, {"mcpu": "generic", "mtriple": "aarch64-linux-gnu"}, ""),
    ],
)
def test_another_machine_is_told_by_what_it_says(
    target: dict[str, Any], exact: bool, told: dict[str, Any], said: str
) -> None:
    expected = expected_of(target, exact)
    assert expected is not None
    found = expected.differs_from({**ZEN4, **told})
    assert found.startswith(said) if said else found == ""


def test_a_target_without_a_cpu_expects_none() -> None:
    assert expected_of({"kind": "llvm"}, exact=True) is None
