"""What goes over REST, in both directions; the command line and the dashboard read the same shapes."""

from tuner.schemas.artifacts import ArtifactCheck, ArtifactOut, BenchmarkOut
from tuner.schemas.common import ErrorBody, ErrorOut, Page
from tuner.schemas.devices import DeviceOut, TargetOut, ThreadgroupOut
from tuner.schemas.jobs import (
    BudgetIn,
    BudgetOut,
    CurvePoint,
    EventOut,
    JobIn,
    JobOut,
    JobState,
    JobWorkloadOut,
    KernelOut,
)
from tuner.schemas.models import ModelIn, ModelOut, OperatorIn, OperatorOut
from tuner.schemas.records import ImportOut, LeftOut, LegacyOut, LegacyPoint, RecordOut, RecordsChanged
from tuner.schemas.service import SCOPES, Health, TokenIn, TokenNew, TokenOut, TokenScope
from tuner.schemas.uploads import UploadFileIn, UploadFileOut, UploadIn, UploadOut, UploadState

__all__ = [
    "SCOPES",
    "ArtifactCheck",
    "ArtifactOut",
    "BenchmarkOut",
    "BudgetIn",
    "BudgetOut",
    "CurvePoint",
    "DeviceOut",
    "ErrorBody",
    "ErrorOut",
    "EventOut",
    "Health",
    "ImportOut",
    "JobIn",
    "JobOut",
    "JobState",
    "JobWorkloadOut",
    "KernelOut",
    "LeftOut",
    "LegacyOut",
    "LegacyPoint",
    "ModelIn",
    "ModelOut",
    "OperatorIn",
    "OperatorOut",
    "Page",
    "RecordOut",
    "RecordsChanged",
    "TargetOut",
    "ThreadgroupOut",
    "TokenIn",
    "TokenNew",
    "TokenOut",
    "TokenScope",
    "UploadFileIn",
    "UploadFileOut",
    "UploadIn",
    "UploadOut",
    "UploadState",
]
