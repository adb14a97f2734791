"""Sends a model's folder to a service that can't see it: what it has not got yet, and on from where a try broke off."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tuner.client import calls
from tuner.client.calls import Call
from tuner.client.http import Client
from tuner.errors import Busy, InvalidInput, OffsetMismatch, ServiceUnreachable
from tuner.importers.model_file import files_beside
from tuner.schemas import UploadFileIn, UploadIn, UploadOut
from tuner.uploads import names, store

PART_BYTES = 8 * 2**20
RETRY_SEC = 1.0
GIVE_UP_SEC = 60.0  # a supervised service is back long before
_NO_WORD = re.compile(r"[^A-Za-z0-9._-]+")

Progress = Callable[[str, int, int], None]  # what is being done, how many bytes of how many are


@dataclass(frozen=True)
class Outgoing:
    """What is sent of a folder or of one file, by path, and what is left out."""

    files: Mapping[str, Path]
    left_out: list[str]

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(place.stat().st_size for place in self.files.values())


def outgoing(place: Path, allow_pickle: bool) -> Outgoing:
    """What of a model's folder, or of the file of its graph and what lies beside it, is sent. Raises UploadInvalid,
    InvalidInput."""
    if place.is_file():
        weights = [place.with_name(place.name + end) for end in ("_data", ".data")]
        beside = {path: one for path, one in files_beside(place).items() if names.is_taken(path, allow_pickle)}
        return Outgoing({one.name: one for one in (place, *weights) if one.is_file()} | beside, [])
    found = {
        str(file.relative_to(place)): file for pattern in ("*", "*/*") for file in place.glob(pattern) if file.is_file()
    }
    taken, left_out = names.chosen(found, allow_pickle)
    if not taken:
        raise InvalidInput(
            f"{place} holds no file of a model.", "Give the folder that holds config.json and the weights."
        )
    return Outgoing({path: found[path] for path in taken}, left_out)


def send(
    client: Client,
    place: Path,
    what: Outgoing,
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> UploadOut:
    """The complete upload of these files, which are ``place``'s.

    Raises what the service refuses with, and ServiceUnreachable when nothing gets through for a minute.
    """
    wish = _declared(place, what, progress)
    total, persistent = what.size_bytes, _Persistent(sleep, clock)
    upload = persistent.call(client, calls.begin_upload(wish))
    while upload.state != "complete":
        try:
            _send_rest(client, upload, what, total, progress, persistent)
            progress("checking", total, total)
            return persistent.call(client, calls.complete_upload(upload.id))
        except (ServiceUnreachable, Busy, OffsetMismatch) as error:
            persistent.pause(error)
            upload = persistent.call(client, calls.upload(upload.id))
    return upload


def _declared(place: Path, what: Outgoing, progress: Progress) -> UploadIn:
    files, done, total = [], 0, what.size_bytes
    for path, file in what.files.items():
        size_bytes = file.stat().st_size
        files.append(UploadFileIn(path=path, size_bytes=size_bytes, sha256=store.sha256_of(file, lambda: None)))
        done += size_bytes
        progress("reading", done, total)
    return UploadIn(name=_name(place, names.digest_of(files)), files=files)


def _name(place: Path, digest: str) -> str:
    """The folder's name and what tells its content from another's."""
    word = _NO_WORD.sub("-", place.stem if place.is_file() else place.name).strip("-._")[:50]
    return f"{word.removeprefix('upl-') or 'model'}-{digest[:8]}"


def _send_rest(
    client: Client, upload: UploadOut, what: Outgoing, total: int, progress: Progress, persistent: _Persistent
) -> None:
    done = upload.received_bytes
    progress("sending", done, total)
    for file in upload.files:
        offset = file.received_bytes
        with what.files[file.path].open("rb") as source:
            source.seek(offset)
            while offset < file.size_bytes:
                part = source.read(min(PART_BYTES, file.size_bytes - offset))
                if not part:
                    raise InvalidInput(f"{source.name} was written while it was sent.", "Give the same command again.")
                client.ask_once(calls.send_part(upload.id, file.path, part, offset))
                persistent.succeeded()
                offset += len(part)
                done += len(part)
                progress("sending", done, total)


class _Persistent:
    """Tries again for a minute after the last success."""

    def __init__(self, sleep: Callable[[float], None], clock: Callable[[], float]) -> None:
        self._sleep, self._clock = sleep, clock
        self.succeeded()

    def succeeded(self) -> None:
        self._at = self._clock()

    def pause(self, error: Exception) -> None:
        """Wait a little; raises the error when it has been too long."""
        if self._clock() - self._at > GIVE_UP_SEC:
            raise _broke_off(error) from error
        self._sleep(RETRY_SEC)

    def call(self, client: Client, call: Call[UploadOut]) -> UploadOut:
        """What is answered."""
        while True:
            try:
                return client.ask_once(call)
            except (ServiceUnreachable, Busy) as error:
                self.pause(error)


def _broke_off(error: Exception) -> Exception:
    if not isinstance(error, ServiceUnreachable):
        return error
    return ServiceUnreachable(
        f"The upload broke off: {error.message}", "Give the same command again; it goes on from there."
    )
