"""The one error tree. Each error has a stable code, a message that names what and which, and a hint what to do."""

from __future__ import annotations


class TunerError(Exception):
    """Base of every error a user can meet.

    ``code`` is stable and documented in docs/errors.md, ``status`` the HTTP status it maps to,
    ``hint`` the next thing to do (a command where there is one).
    """

    code = "internal_error"
    status = 500

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_dict(self) -> dict[str, str]:
        """The body of ``{"error": ...}``: code, message, hint."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class NotFound(TunerError):
    """Something asked for by id does not exist."""

    code = "not_found"
    status = 404


class InvalidInput(TunerError):
    """The request itself is wrong: a field, a value, a combination."""

    code = "invalid_input"
    status = 422


class ModelUnknown(InvalidInput):
    """The name is no preset, no folder and no hub id."""

    code = "model_unknown"


class ModelInvalid(InvalidInput):
    """The folder or file is there but is no model we can load (no config, corrupt or pickle-only weights)."""

    code = "model_invalid"


class FormatUnsupported(ModelInvalid):
    """The file holds a model in a format that is not taken: TorchScript, a pickle, another framework's."""

    code = "format_unsupported"


class OperatorsUnsupported(ModelInvalid):
    """The model has operators that nothing here computes; the message names all of them."""

    code = "operators_unsupported"


class ModelUnreachable(TunerError):
    """The hub or the folder that holds the model does not answer."""

    code = "model_unreachable"
    status = 502


class SequenceTooLong(InvalidInput):
    """The sequence length is over what the model's position embeddings allow."""

    code = "sequence_too_long"


class MemoryShort(InvalidInput):
    """Importing the model at this shape takes more memory than may be used."""

    code = "memory_short"


class TargetUnknown(InvalidInput):
    """No such target, or LLVM does not know its mcpu."""

    code = "target_unknown"


class BudgetInvalid(InvalidInput):
    """The budget is zero, negative, or beyond the limits."""

    code = "budget_invalid"


class Conflict(TunerError):
    """The thing is in a state that does not allow the request."""

    code = "conflict"
    status = 409


class DataDirForeign(Conflict):
    """The folder given as the data directory holds something else, or belongs to another database."""

    code = "data_dir_foreign"


class CrossSite(TunerError):
    """A web page of another site made a browser ask for something."""

    code = "cross_site"
    status = 403


class TokenNeeded(TunerError):
    """A request shows no token, or one that is not known."""

    code = "token_needed"
    status = 401


class ScopeMissing(TunerError):
    """A request shows a token that does not allow it."""

    code = "scope_missing"
    status = 403


class HostUnknown(TunerError):
    """A request names a host that is not this service; a page may have let its own name lead here."""

    code = "host_unknown"
    status = 421


class UploadInvalid(InvalidInput):
    """An upload was empty, truncated, or not what it should be."""

    code = "upload_invalid"


class OffsetMismatch(Conflict):
    """A part of a file does not begin where the file ends; ``offset`` is where that is."""

    code = "offset_mismatch"

    def __init__(self, message: str, hint: str = "", offset: int = 0) -> None:
        super().__init__(message, hint)
        self.offset = offset


class QuotaExceeded(InvalidInput):
    """All uploads together would take more than they may."""

    code = "quota_exceeded"
    status = 413


class BodyTooLarge(InvalidInput):
    """A request's body is larger than its route takes."""

    code = "body_too_large"
    status = 413


class BodyTooSlow(TunerError):
    """A request's body did not arrive in time."""

    code = "body_too_slow"
    status = 408


class Busy(TunerError):
    """Too many ask for the same at once; it works again in a moment."""

    code = "busy"
    status = 503
    retry_after_sec = 5


class ArtifactMissing(TunerError):
    """The database knows the artifact but its file is gone."""

    code = "artifact_missing"
    status = 410


class VerificationFailed(TunerError):
    """The compiled module's outputs are out of tolerance; no artifact is made."""

    code = "verification_failed"


class PrecisionUnavailable(InvalidInput):
    """The target has no instructions for the precision, or the model no product that they could compute."""

    code = "precision_unavailable"


class PrecisionLossTooLarge(VerificationFailed):
    """A module at a lower precision differs more from float32 than is allowed; no artifact is made."""

    code = "precision_loss_too_large"


class LimitExceeded(InvalidInput):
    """A schedule wants more threads or memory in a threadgroup than the target has."""

    code = "limit_exceeded"


class LinkFailed(TunerError):
    """No library could be linked for the target."""

    code = "link_failed"


class LoadCheckFailed(TunerError):
    """A library would not load on its target: wrong machine, missing entry, or a symbol nobody there has."""

    code = "load_check_failed"


class StorageFull(TunerError):
    """No space is left where the data directory is."""

    code = "storage_full"
    status = 507


class StorageFailed(TunerError):
    """The disk or the database's file can't be read or written, though there is space."""

    code = "storage_failed"


class DeviceUnavailable(TunerError):
    """No device answered within the deadline."""

    code = "device_unavailable"
    status = 503


class EngineUnavailable(TunerError):
    """The engine that runs rounds does not answer."""

    code = "engine_unavailable"
    status = 503


class StageFailed(TunerError):
    """A stage of a job failed for a reason that is not the user's."""

    code = "stage_failed"


class ProcessLost(StageFailed):
    """A process or a session that a stage needs was ended from outside; the stage is run again, a few times."""

    code = "process_lost"


class ServiceUnreachable(TunerError):
    """A client could not reach the service."""

    code = "service_unreachable"
    status = 503


class SchemaOutdated(TunerError):
    """The database was written by an older release and needs an upgrade."""

    code = "schema_outdated"
    status = 503


class SchemaUnknown(TunerError):
    """The database was written by a newer release, or by something else."""

    code = "schema_unknown"
    status = 503


class WrongVersion(TunerError):
    """An installed package has a version known to break; the message names the pin."""

    code = "wrong_version"


class StartFailed(TunerError):
    """A process of the service did not come up; the message shows the end of its log."""

    code = "start_failed"


class PortTaken(TunerError):
    """A port the user asked for is in use."""

    code = "port_taken"
    status = 503


def all_error_classes() -> list[type[TunerError]]:
    """Every class of the tree, for the documentation test."""
    seen: list[type[TunerError]] = []
    todo: list[type[TunerError]] = [TunerError]
    while todo:
        cls = todo.pop(0)
        seen.append(cls)
        todo.extend(cls.__subclasses__())
    return seen
