"""What others wrote as JSON is a value that can be stored and sent, or a ValueError."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.strict_json import depth, dump, parse

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN)
def test_what_is_json_is_read_as_it_was_written(value: object) -> None:
    assert parse(json.dumps(value)) == value
    assert parse(dump(value, "it", 10**9).encode()) == value


@pytest.mark.parametrize(
    "text",
    [
        "[NaN]",
        "[-Infinity]",
        "[1e999]",
        "[" * 100_000,
        '{"a":' * 100_000,
        '["\\ud800"]',
        b'["\\uDFFF"]',
        b"\xff",
        "1" * 9999,
    ],
)
def test_what_can_not_be_stored_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert parse('["\\ud83d\\ude00"]') == ["😀"]


@pytest.mark.parametrize(("value", "levels"), [(1, 0), ([], 1), ([[1], {"a": [{}]}], 4)])
def test_the_depth_is_that_of_what_is_nested_deepest(value: object, levels: int) -> None:
    assert depth(value) == levels
    assert parse(json.dumps(value), max_depth=levels) == value
    if levels:
        with pytest.raises(ValueError, match="nested deeper"):
            parse(json.dumps(value), max_depth=levels - 1)


def test_what_is_too_long_is_named() -> None:
    with pytest.raises(ValueError, match="the trace: 9 characters, 8 are allowed"):
        dump("x" * 7, "the trace", 8)


def test_deep_values_are_refused_when_they_are_written() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="it: "):
        dump(value, "it", 10**9)
    while value:  # freed level by level: the interpreter would need as deep a stack
        value = value.pop()  # type: ignore[assignment]
