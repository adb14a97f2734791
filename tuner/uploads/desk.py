"""Where uploads are begun, completed, looked up and given up: rows in the database, files in the data directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Engine

from rpc.drafts import draft
from tuner.config import Settings
from tuner.db import uploads
from tuner.db.engine import read, write
from tuner.db.models import Upload, new_id
from tuner.db.paging import Found, Window
from tuner.errors import Conflict, InvalidInput, ModelUnknown, NotFound, QuotaExceeded, ScopeMissing, UploadInvalid
from tuner.importers.copies import Room
from tuner.importers.source import ModelSource, resolve_source
from tuner.schemas import TokenScope, UploadFileIn, UploadFileOut, UploadIn, UploadOut
from tuner.uploads import names, store
from tuner.uploads.unpack import Unpack

MOST_UPLOADS = 500  # with as many files each, all of which are looked at when one is begun
_GB = 1e9


@dataclass(frozen=True)
class Sender:
    """Who asks: the name of a token, and what it allows."""

    name: str
    scope: TokenScope


@dataclass(frozen=True)
class Desk:
    """The uploads of a data directory. Nothing here looks at files within a transaction."""

    settings: Settings
    engine: Engine

    def begin(self, sender: Sender, wish: UploadIn) -> tuple[Upload, bool]:
        """The upload that takes these files, and whether it is new: of a content that is here already it is that one.

        Raises UploadInvalid, InvalidInput, ModelInvalid (too large), Conflict (another content has the name),
        QuotaExceeded, StorageFull.
        """
        names.check_files(wish.files, self.settings.allow_pickle_uploads)
        if wish.name.startswith("upl-"):
            raise InvalidInput(f"{wish.name} looks like the id of an upload.", "Give it another name.")
        digest = names.digest_of(wish.files)
        with read(self.engine) as session:
            if found := uploads.of_content(session, digest, sender.name):
                return found, False
            known = self._known(uploads.complete(session))
        total = sum(file.size_bytes for file in wish.files)
        room = Room(self.settings.max_model_bytes, self.settings.min_free_bytes)
        room.check_size(wish.name, total)
        room.check_free(self.settings.uploads_dir, total)
        upload = Upload(
            id=new_id("upl"),
            name=wish.name,
            owner=sender.name,
            digest=digest,
            size_bytes=total,
            files=[file.model_dump() for file in wish.files],
        )
        store.make(self.folder(upload), wish.files, known)
        try:
            with write(self.engine) as session:
                if uploads.by_name(session, wish.name):
                    raise Conflict(
                        f"There is an upload {wish.name} already, of other files.",
                        f"Give another name, or delete that one: `tunesmith uploads delete {wish.name}`.",
                    )
                self._check_quota(uploads.size_bytes(session) + total, uploads.number(session) + 1)
                session.add(upload)
        except BaseException:
            store.remove(self.folder(upload))
            raise
        return upload, True

    def get(self, name: str) -> Upload:
        """The upload of this id or name. Raises NotFound."""
        with read(self.engine) as session:
            return uploads.get(session, name)

    def find(self, window: Window) -> Found[Upload]:
        """Uploads, newest first."""
        with read(self.engine) as session:
            return uploads.find(session, window)

    def adding(self, sender: Sender, name: str, path: str, offset: int) -> AbstractContextManager[store.Part]:
        """A file to which a part is added; as ``store.adding``. Raises NotFound, Conflict, ScopeMissing too."""
        upload = self._own(sender, name)
        if upload.state != "complete":
            for file in _files(upload):
                if file.path == path:
                    with write(self.engine) as session:
                        uploads.touch(session, uploads.get(session, upload.id))
                    return store.adding(self.folder(upload), file, offset, self.settings.min_free_bytes)
            raise NotFound(f"Upload {upload.name} has declared no file {path}.", "Send what was declared.")
        raise Conflict(f"Upload {upload.name} is complete.", "Begin another one.")

    def complete(self, sender: Sender, name: str, wait: Callable[[], None]) -> Upload:
        """Check all that has come, unpack an archive, and let jobs use it; a complete one stays as it is.

        ``wait`` returns when there is a moment to read in. Raises NotFound, ScopeMissing, UploadInvalid, StorageFull.
        """
        upload = self._own(sender, name)
        if upload.state == "complete":
            return upload
        try:
            return self._complete(upload, wait)
        except (FileNotFoundError, UploadInvalid):
            self.get(upload.id)  # it was given up meanwhile
            raise

    def _complete(self, upload: Upload, wait: Callable[[], None]) -> Upload:
        folder, files = self.folder(upload), _files(upload)
        store.check_content(folder, files, wait)
        left_out: list[str] = []
        if names.is_archive(files[0].path):
            with read(self.engine) as session:
                others = uploads.size_bytes(session, upload.id)
            with draft(self.settings.uploads_dir) as scratch:
                into = scratch / "model"
                into.mkdir()
                unpacked = Unpack(
                    store.archive_of(folder, files[0].path),
                    into,
                    min(self.settings.max_model_bytes, max(0, self.settings.max_uploads_bytes - others)),
                    self.settings.min_free_bytes,
                    self.settings.allow_pickle_uploads,
                ).make_apart()
                store.settle_unpacked(folder, into)
            files = [UploadFileIn(**file) for file in unpacked.files]
            left_out = unpacked.left_out
        else:
            store.settle(folder)
        with write(self.engine) as session:
            upload = uploads.get(session, upload.id)
            upload.state = "complete"
            upload.files = [file.model_dump() for file in files]
            upload.left_out = left_out[:100]
            upload.size_bytes = sum(file.size_bytes for file in files)
            uploads.touch(session, upload)
        store.drop_parts(folder)
        return upload

    def delete(self, sender: Sender, name: str) -> None:
        """Remove an upload. Raises NotFound, ScopeMissing, Conflict while a job that waits or runs uses it."""
        upload = self._own(sender, name)
        with write(self.engine) as session:
            upload = uploads.get(session, upload.id)
            uploads.refuse_used(session, upload, model_of(upload))
            session.delete(upload)
        store.remove(self.folder(upload))

    def folder(self, upload: Upload) -> Path:
        """Where its files lie."""
        return self.settings.uploads_dir / upload.id

    def told(self, upload: Upload) -> UploadOut:
        """The upload as REST says it, with how far each file is."""
        is_here, folder = upload.state == "complete", self.folder(upload)
        files = [
            UploadFileOut(
                **file.model_dump(),
                received_bytes=file.size_bytes if is_here else store.received(folder, file.path),
            )
            for file in _files(upload)
        ]
        return UploadOut(
            **upload.model_dump(exclude={"files", "digest"}),
            model=model_of(upload),
            received_bytes=sum(file.received_bytes for file in files),
            files=files,
        )

    def source(self, model: str, allow_pickle: bool, head: str | None) -> ModelSource:
        """What ``upload:NAME`` or ``upload:ID`` means as a job's model.

        Raises ModelUnknown for one that is not there or not complete, and what ``resolve_source`` raises.
        """
        name = model.removeprefix(names.PREFIX)
        try:
            upload = self.get(name)
        except NotFound as missing:
            raise ModelUnknown(missing.message, missing.hint) from None
        if upload.state != "complete":
            raise ModelUnknown(f"Upload {upload.name} is not complete.", f"Send the rest: {_RESUME}")
        place = _entry(store.model_folder(self.folder(upload)), [file.path for file in _files(upload)])
        return replace(resolve_source(str(place), allow_pickle, head), name=model_of(upload))

    def _own(self, sender: Sender, name: str) -> Upload:
        upload = self.get(name)
        if sender.scope != "admin" and upload.owner != sender.name:
            raise ScopeMissing(
                f"{sender.name} may change its own uploads; {upload.name} is {upload.owner or 'the service'}'s.",
                "Show that token, or one for `admin`.",
            )
        return upload

    def _check_quota(self, wanted_bytes: int, count: int) -> None:
        most = self.settings.max_uploads_bytes
        if wanted_bytes > most:
            raise QuotaExceeded(
                f"All uploads together would take {wanted_bytes / _GB:.2f} GB, and may take {most / _GB:.2f} GB.",
                "Delete some (`tunesmith uploads list`), or set TUNER_MAX_UPLOADS_BYTES higher.",
            )
        if count > MOST_UPLOADS:
            raise QuotaExceeded(f"There are {MOST_UPLOADS} uploads.", "Delete some: `tunesmith uploads list`.")

    def _known(self, complete: list[Upload]) -> Mapping[str, Path]:
        return {
            file.sha256: store.model_folder(self.folder(upload)) / file.path
            for upload in complete
            for file in _files(upload)
        }


def model_of(upload: Upload) -> str:
    """What jobs call it."""
    return names.PREFIX + upload.name


def _files(upload: Upload) -> list[UploadFileIn]:
    return [UploadFileIn.model_construct(**file) for file in upload.files]


def _entry(folder: Path, paths: list[str]) -> Path:
    """What is given to be imported: the folder, or, where it is no model's, the one graph in it."""
    graphs = [path for path in paths if path.endswith((".onnx", ".pt2"))]
    is_folder = bool({"config.json", "modules.json"} & set(paths))
    return folder / graphs[0] if len(graphs) == 1 and not is_folder else folder


_RESUME = "`PUT /v1/uploads/ID/files/PATH`, then `POST /v1/uploads/ID/complete`; or give `tunesmith tune FOLDER` again."
