"""Moments that no clock's change moves."""

from __future__ import annotations

from tuner.jobs.moments import reading, stamp


def test_a_moment_is_read_back_on_the_same_boot() -> None:
    assert reading(stamp(1234.5)) == 1234.5


def test_a_moment_of_another_boot_tells_nothing() -> None:
    assert reading("another-boot 1234.500") is None
