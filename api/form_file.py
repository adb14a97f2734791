"""The file in a multipart form, passed on part by part as it arrives; nothing of the form is kept."""

from __future__ import annotations

from collections.abc import Callable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tuner.errors import UploadInvalid

FIELD = "file"
HINT = f"Send the file as the body (`curl --data-binary @records.jsonl`) or as the form field `{FIELD}`."


class FormFile:
    """Takes a form's bytes and gives ``write`` those of its field ``file``; what else is in it is thrown away.

    Raises UploadInvalid, as do ``feed`` and ``finish``, for what is no such form.
    """

    def __init__(self, content_type: str, write: Callable[[bytes], object]) -> None:
        _, options = parse_options_header(content_type)
        self._write = write
        self._header = self._value = b""
        self._disposition = ""
        self._takes = self._has_file = self._is_whole = False
        try:
            # The parser itself bounds the length of the boundary, of each header, and how many a part has.
            self._parser = MultipartParser(
                options.get(b"boundary", b""),
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._take_name,
                    "on_header_value": self._take_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._take_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _no_form(error) from None
        if b"boundary" not in options:
            raise _no_form("its content type names no boundary")

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the form."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _no_form(error) from None

    def finish(self) -> None:
        """The form has ended."""
        if not self._is_whole:
            raise _no_form("it ends too early")
        if not self._has_file:
            raise UploadInvalid(f"The form has no file in its field `{FIELD}`.", HINT)

    def _begin_part(self) -> None:
        self._header = self._value = b""
        self._disposition = ""

    def _take_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value.decode("latin-1")
        self._header = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._takes = options.get(b"name") == FIELD.encode() and not self._has_file
        self._has_file |= self._takes

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._takes:
            self._write(data[start:end])

    def _end_part(self) -> None:
        self._takes = False

    def _end(self) -> None:
        self._is_whole = True


def _no_form(reason: object) -> UploadInvalid:
    return UploadInvalid(f"The upload is no complete form: {reason}.", HINT)
