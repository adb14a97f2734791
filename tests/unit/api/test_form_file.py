"""The one file of a form: passed on as it comes, and nothing else of the form kept."""

from __future__ import annotations

import tracemalloc

import pytest

from api.form_file import FormFile
from tuner.errors import UploadInvalid

TYPE = "multipart/form-data; boundary=b"


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = [f"content-disposition: form-data; {disposition}", *headers]
    return b"--b\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n"


def taken(form: bytes, step: int = 7, content_type: str = TYPE) -> bytes:
    found = bytearray()
    parser = FormFile(content_type, found.extend)
    for start in range(0, len(form), step):
        parser.feed(form[start : start + step])
    parser.finish()
    return bytes(found)


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_the_file_is_passed_on_however_the_form_is_cut(step: int) -> None:
    form = part("name=other", b"no") + part('name="file"; filename="a.jsonl"', b"line\r\n--x\r\n") + b"--b--\r\n"
    assert taken(form, step) == b"line\r\n--x\r\n"


def test_a_second_file_is_not_added_to_the_first() -> None:
    assert taken(part("name=file; filename=a", b"1") + part("name=file; filename=b", b"2") + b"--b--") == b"1"


@pytest.mark.parametrize(
    ("form", "content_type", "says"),
    [
        (part("name=other", b"1") + b"--b--", TYPE, "no file in its field `file`"),
        (part("name=file; filename=a", b"1"), TYPE, "ends too early"),
        (b"", TYPE, "ends too early"),
        (b"nonsense", TYPE, "no complete form"),
        (part("name=file", b"1", "x: " + "y" * 10_000) + b"--b--", TYPE, "no complete form"),
        (part("name=file", b"1", *["x: y"] * 100) + b"--b--", TYPE, "no complete form"),
        (b"", "multipart/form-data", "no boundary"),
        (b"", "multipart/form-data; boundary=" + "b" * 9999, "no complete form"),
    ],
)
def test_what_is_no_such_form_is_refused(form: bytes, content_type: str, says: str) -> None:
    with pytest.raises(UploadInvalid, match=says):
        taken(form, content_type=content_type)


def test_fields_that_nobody_asked_for_take_no_memory() -> None:
    field = part("name=other", b"x" * 2**20)
    parser = FormFile(TYPE, lambda chunk: None)
    tracemalloc.start()
    for _ in range(50):
        parser.feed(field)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20
